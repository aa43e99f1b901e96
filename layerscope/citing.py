"""Find the works to cite for a file: those of its measures, models and methods.

It reads the attributes of files and runs nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import xarray

from layerscope.arguments import checked
from layerscope.citations import BACKENDS, BOOTSTRAP, HARNESS, LAYERSCOPE, MODELS, SCHEDULES, TASKS, entries
from layerscope.measures.catalogue import MEASURES
from layerscope.results import kind_of, read_result, read_scaling, read_sweep
from layerscope.store.header import read_header

__all__ = ["cite"]

_UNKNOWN = "% no citation is known for the model"


@checked
def cite(path: str | os.PathLike[str]) -> str:
    """Return BibTeX for exactly the measures, models, backends, schedules and tasks of a file.

    Parameters
    ----------
    path
        A capture, an analysis, a sweep, or what `layerscope.scaling` or `layerscope.over_training` made, as a file.

    Returns
    -------
    str
        Entries in the order of use, LayerScope's own first. A model without a known work is a comment.

    Raises
    ------
    FileError
        The file is missing, truncated, or none of these.

    Examples
    --------
    >>> cite("none.nc")
    Traceback (most recent call last):
        ...
    layerscope.errors.FileError: none.nc: there is no such file...
    """
    bibliography = entries()
    used = dict.fromkeys(_used(path))
    return "\n\n".join(bibliography.get(key, key) for key in used) + "\n"


def _used(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the keys of all works that a file uses, and a comment for each model without one."""
    yield LAYERSCOPE
    kind = kind_of(path)
    if kind == "capture" or os.fspath(path).endswith(".h5"):
        yield from _of_attributes(read_header(path).attributes)
    elif kind == "sweep":
        yield from _of_sweep(read_sweep(path))
    elif kind == "scaling":
        yield from _of_scaling(read_scaling(path))
    else:
        result = read_result(path, kind)
        yield from _of_attributes(result.attrs)
        yield from _of_measures(result)


def _of_attributes(attrs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the model, backend and schedule of a capture, or of both captures."""
    for suffix in ("", "_other"):
        if (model := attrs.get(f"model{suffix}")) is not None:
            yield _of_model(str(model), str(attrs.get(f"architecture{suffix}", "unknown")))
        if (backend := attrs.get(f"backend{suffix}")) in BACKENDS:
            yield BACKENDS[str(backend)]
        if attrs.get(f"schedule{suffix}", "identity") != "identity":
            yield SCHEDULES


def _of_model(name: str, architecture: str) -> str:
    key = next((key for pattern, key in MODELS.items() if re.search(pattern, name, re.IGNORECASE)), None)
    return key or f"{_UNKNOWN} {name} (architecture {architecture}): see how its authors want it cited"


def _of_measures(result: xarray.Dataset) -> Iterator[str]:
    names = {str(name).removesuffix("_to_last").removesuffix("_to_previous") for name in result.data_vars}
    for name, measure in MEASURES.items():
        if name in names:
            yield from measure.cites
    if any(name.endswith("_low") for name in map(str, result.data_vars)):
        yield BOOTSTRAP


def _of_sweep(sweep: xarray.Dataset) -> Iterator[str]:
    yield from _of_attributes(sweep.attrs)
    yield SCHEDULES
    for task in map(str, sweep["task"].values):
        source, _, name = task.partition(":")
        if source == "lm-eval":
            yield HARNESS
            yield from (key for beginning, key in TASKS.items() if name.startswith(beginning))
    if "drift_cka" in sweep and bool(sweep["drift_cka"].notnull().any()):
        yield from MEASURES["cka"].cites
    if any(str(name).endswith("_low") for name in sweep.data_vars):
        yield BOOTSTRAP


def _of_scaling(scaling: xarray.Dataset) -> Iterator[str]:
    for place in range(scaling.sizes["model"]):
        of = scaling.isel(model=place)
        yield from _of_attributes({name: of[name].item() for name in ("model", "architecture", "backend")})
    for name in dict.fromkeys(scaling["measure"].values.tolist()):
        yield from MEASURES[name].cites if name in MEASURES else [f"% no citation is known for the measure {name}"]
    yield SCHEDULES  # the paper whose claims are put to the test
    yield BOOTSTRAP
