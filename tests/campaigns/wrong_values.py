"""Values that are wrong for most arguments, and datasets with one part missing or changed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from layerscope.measures.streaming import Statistics


def wrong_values() -> dict[str, Any]:
    """Return values that are wrong for most arguments, by their names in the report."""
    plain = [
        None,
        5,
        3.5,
        True,
        -1,
        10**30,
        "nonsense",
        "",
        "a\nb",
        "\0",
        b"x",
        [],
        {},
        (),
        [None],
        [5],
        ["x"],
        [[]],
        [()],
    ]
    plain += [float("nan"), float("inf"), ..., {"a": 1}, {1}, range(3), ["cosine", 5], {"builtin:cloze": "x"}, {5: 0.5}]
    values = {repr(value): value for value in plain}
    return values | {
        "object()": object(),
        "a lambda": lambda *_: 5,
        "a class": Statistics,
        "a generator": (number for number in range(3)),
        "a missing path": Path("no/such/file.nc"),
        "a folder": Path("."),
        "numpy 3": np.int64(3),
        "numpy -2.5": np.float32(-2.5),
        "an empty array": np.zeros((0, 0)),
        "an array of text": np.array(["a", "b"]),
        "an array of NaN": np.full((3, 3), np.nan),
        "an array": np.ones((3, 3)),
        "a long array": np.ones(4),
        "complex": np.ones((3, 3)) * 1j,
        "objects": np.array([[object()]]),
        "an empty Dataset": xr.Dataset(),
        "a foreign Dataset": xr.Dataset({"temperature": ("time", [1.0, 2.0])}),
        "an empty DataArray": xr.DataArray([]),
        "a DataArray": xr.DataArray(np.eye(3), dims=("x", "y")),
        "a DataArray of text": xr.DataArray([["a"]]),
    }


def damaged_datasets(dataset: xr.Dataset) -> Iterator[tuple[str, Callable[[], xr.Dataset]]]:
    """Yield functions that make a dataset with one part missing or changed, with their names."""
    for name in map(str, dataset.variables):
        yield f"without {name}", partial(dataset.drop_vars, name)
        if name not in dataset.dims:
            yield f"{name} as text", partial(_with, dataset, name, lambda variable: variable.astype(str))
            yield f"{name} without dimensions", partial(_with, dataset.drop_vars(name), name, lambda variable: 1.0)
            if dataset[name].dtype.kind == "f":
                yield f"{name} all NaN", partial(_with, dataset, name, lambda variable: variable * np.nan)
    for name in map(str, dataset.dims):
        yield f"no {name}", partial(dataset.isel, {name: slice(0, 0)})
        yield f"one {name}", partial(dataset.isel, {name: slice(0, 1)})
        yield f"{name} taken out", partial(dataset.isel, {name: 0})
        yield f"{name} renamed", partial(dataset.rename, {name: "other_name"})
    yield "no attributes", dataset.drop_attrs
    for name in map(str, dataset.attrs):
        yield f"attribute {name} is odd", partial(dataset.assign_attrs, {name: [1, 2]})


def _with(dataset: xr.Dataset, name: str, changed: Callable[[Any], Any]) -> xr.Dataset:
    return dataset.assign({name: changed(dataset.get(name))})
