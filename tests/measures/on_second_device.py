"""Compare analyses on a made-up second device with the same on the CPU; `test_device` runs this in a process of its own."""

from collections import Counter
from typing import Any
from unittest import mock

import numpy as np
import torch
import xarray
from torch.utils._pytree import tree_leaves

import layerscope as ls
from layerscope.measures import device
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind
from layerscope.threads import surrounded, thread_pool
from tests.measures.captures import capture, walk
from tests.second_device import SECOND, second_device

RUN: Counter[str] = Counter()


def compare(one: xarray.Dataset, other: xarray.Dataset) -> None:
    """Assert that two analyses have the same values within the bound that the documentation gives."""
    assert set(one.variables) == set(other.variables)
    for name in one.data_vars:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=1e-6, atol=1e-6, err_msg=str(name))


class _Counting(device._Placement):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(function, types, args, kwargs)
        if any(isinstance(leaf, torch.Tensor) and leaf.device == SECOND for leaf in tree_leaves(result)):
            RUN[function.__name__] += 1
        return result


def main() -> None:
    """Run every measure on both devices."""
    thread_pool()
    first, second = (capture(walk(260, 4, 12, seed, dtype=np.float32), [13] * 20) for seed in (0, 1))
    names = list(MEASURES)
    between = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]
    options: dict[str, Any] = {"bootstrap": 2, "seed": 3}
    expected = [ls.analyze(first, measures=names, **options), ls.analyze(first, second, measures=between, null=1)]
    with (
        mock.patch.object(device, "_LEAST_VALUES", 1),
        mock.patch.object(device, "_Placement", _Counting),
        mock.patch("layerscope.measures.analysis.find_device", return_value=SECOND),
        surrounded(second_device),
    ):
        found = [ls.analyze(first, measures=names, **options), ls.analyze(first, second, measures=between, null=1)]
    for one, other in zip(expected, found, strict=True):
        compare(one, other)
    for operation in ("matmul", "bmm", "linalg_svd", "linalg_svdvals", "linalg_eigvalsh"):
        assert RUN[operation], operation


if __name__ == "__main__":
    main()
