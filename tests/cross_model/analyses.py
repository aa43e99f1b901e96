"""Analyses of imagined models whose segments are known."""

import numpy as np
import xarray as xr

from tests.segmentation.matrices import planted

DIMS = ("layer", "layer_other")


def analysis(name, sizes, *, excluded=0, replicates=None, measures=("cosine",), parameters=None, **attrs):
    """Make an analysis of a model whose every measure has segments of these sizes, and replicates of those sizes."""
    states = sum(sizes)
    drawn = [sizes] * 8 if replicates is None else replicates
    result = xr.Dataset(coords={"layer": np.arange(states), "layer_other": np.arange(states)})
    for measure in measures:
        known = {"excluded_first": excluded, "range": "[-1, 1]", "long_name": f"mean {measure}", "tokens": 90}
        result[measure] = (DIMS, planted(sizes), known)
        result[f"{measure}_bootstrap"] = (("replicate", *DIMS), np.stack([planted(one) for one in drawn]), known)
    says = {"model": name, "num_blocks": states - 1, "architecture": "gpt_neox", "schedule": "identity"}
    says |= {"texts": "builtin:passages", "provenance": "{}"}
    says |= {"parameters": 10_000 * states if parameters is None else parameters}
    return result.assign_attrs(says | attrs)
