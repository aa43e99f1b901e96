"""Result files: what each kind contains, and how all of them are read, told apart and written.

`KINDS` is the one table. A file is checked against the schema of its kind before anything uses it. This module knows
Datasets and files; it knows no measure and no task.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray

import layerscope.accessor  # noqa: F401 - makes result.layerscope known
from layerscope.arguments import checked
from layerscope.errors import FileError
from layerscope.outputs import replace_whole
from layerscope.store.file_schema import FileSchema, Holds, Variable, plain_value
from layerscope.store.hdf5 import open_dataset, open_shared, require_regular_file, translate_errors

__all__ = [
    "KINDS",
    "kind_of",
    "read_analysis",
    "read_result",
    "read_scaling",
    "read_sweep",
    "read_training",
    "write_result",
]


def _variables(dims: str, holds: Holds, names: str, *, required: bool = False) -> dict[str, Variable]:
    """Return variables that share dimensions and type; names and dimensions are given with blanks between."""
    return {name: Variable(tuple(dims.split()), holds, required) for name in names.split()}


def _with_ends(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return the ends of the 95 % intervals of variables."""
    return {
        f"{name}_{end}": Variable(one.dims, one.holds) for name, one in variables.items() for end in ("low", "high")
    }


_OF_VARIABLES: dict[str, type] = {
    "long_name": str,
    "range": str,
    "estimator": str,
    "reference": str,
    "interval": str,
    "units": str,
    "excluded_first": int,
}
_MADE: dict[str, type] = {
    "layerscope_version": str,
    "provenance": str,
    "model": str,
    "architecture": str,
    "num_blocks": int,
    "backend": str,
    "schedule": str,
    "texts": str,
}


def _schema(
    kind: str,
    command: str,
    variables: Mapping[str, Variable],
    *required_attributes: str,
    endings: Mapping[str, Variable] | None = None,
) -> FileSchema:
    return FileSchema(
        kind=f"{kind} file",
        command=command,
        remedy=f"make it again with layerscope {command} --overwrite",
        variables=variables,
        attributes=_MADE
        | {f"{name}_other": of for name, of in _MADE.items()}
        | {"measure": str, "settings": str, "bootstrap": int, "alignment": str, "massive_warning": str},
        required_attributes=required_attributes,
        variable_attributes=_OF_VARIABLES,
        endings=endings or {},
    )


_ANALYSIS = {
    **_variables("layer", Holds.INTEGER, "layer", required=True),
    **_variables("layer_other", Holds.INTEGER, "layer_other", required=True),
    **_variables("layer", Holds.TEXT, "layer_name"),
    **_variables("layer_other", Holds.TEXT, "layer_name_other"),
    **_variables("rank", Holds.NUMBER, "massive_layer massive_feature massive_token_id massive_position"),
    **_variables("rank", Holds.NUMBER, "massive_value massive_ratio"),
}

_OF_TASKS = _variables(
    "task run",
    Holds.FLOAT,
    "loss perplexity byte_perplexity bits_per_byte accuracy accuracy_norm normalized loss_difference",
) | _variables("task drift", Holds.FLOAT, "rank_correlation")
_SWEEP = {
    **_variables("task", Holds.TEXT, "task", required=True),
    **_variables("run", Holds.TEXT, "schedule", required=True),
    **_variables("run", Holds.TEXT, "variant"),
    **_variables("run", Holds.INTEGER, "start seed loops affected stages block_calls block_calls_alone stacked"),
    **_variables("run", Holds.FLOAT, "seconds seconds_per_token"),
    **_variables("drift", Holds.TEXT, "drift"),
    **_OF_TASKS,
    **_with_ends(_OF_TASKS),
    **_variables("task run", Holds.FLOAT, "drift_cosine drift_norm drift_cka"),
    **_variables("task run stage", Holds.FLOAT, "drift_cosine_stage drift_norm_stage variance_stage"),
    **_variables("run stage", Holds.INTEGER, "reference_state"),
    **_variables("task run example", Holds.FLOAT, "example_loss example_correct"),
    **_variables("task example", Holds.FLOAT, "target_tokens target_bytes"),
    **_variables("task", Holds.TEXT, "kind"),
    **_variables("task example", Holds.TEXT, "example_id"),
    **_variables("task", Holds.NUMBER, "examples chance"),
}

_ESTIMATED = (
    _variables("model reading segment", Holds.NUMBER, "size proportion", required=True)
    | _variables("reading segment form", Holds.FLOAT, "intercept slope", required=True)
    | _variables("reading", Holds.FLOAT, "beginning_trend", required=True)
)
_SCALING = {
    **_variables("model", Holds.TEXT, "model architecture backend texts", required=True),
    **_variables("model", Holds.NUMBER, "depth states parameters", required=True),
    **_variables("reading", Holds.TEXT, "measure long_name", required=True),
    **_variables("reading", Holds.INTEGER, "excluded_first", required=True),
    **_variables("segment", Holds.TEXT, "segment", required=True),
    **_variables("form", Holds.TEXT, "form", required=True),
    **_variables("claim", Holds.TEXT, "claim", required=True),
    **_variables("model reading", Holds.NUMBER, "tokens score", required=True),
    **_variables("model reading boundary", Holds.FLOAT, "stability", required=True),
    **_ESTIMATED,
    **_with_ends(_ESTIMATED),
    **_variables("replicate model reading segment", Holds.INTEGER, "size_bootstrap", required=True),
    **_variables("reading segment form", Holds.FLOAT, "left_out_error support", required=True),
    **_variables("reading segment", Holds.TEXT, "supported", required=True),
    **_variables("reading claim", Holds.NUMBER, "holds claim_support robust", required=True),
    **_variables("reading claim", Holds.TEXT, "verdict", required=True),
    **_variables("layer", Holds.INTEGER, "layer"),
    **_variables("layer_other", Holds.INTEGER, "layer_other"),
    **_variables("model reading layer layer_other", Holds.FLOAT, "similarity", required=True),
}

_TRAINING = {
    **_variables("checkpoint", Holds.INTEGER, "checkpoint step", required=True),
    **_variables("checkpoint", Holds.TEXT, "model", required=True),
    **_variables("layer", Holds.INTEGER, "layer", required=True),
    **_variables("layer", Holds.TEXT, "layer_name"),
}

_TO = _variables("checkpoint layer", Holds.FLOAT, "_to_last _to_previous")
_OVER_TRAINING = _TO | _with_ends(_TO)  # each after a measure

KINDS: dict[str, FileSchema] = {
    "sweep": _schema("sweep", "sweep", _SWEEP),
    "training": _schema("training", "training", _TRAINING, "measure", endings=_OVER_TRAINING),
    "scaling": _schema("scaling", "scaling", _SCALING),
    "analysis": _schema("analysis", "analyze", _ANALYSIS, "provenance"),
}
"""What the files of each kind contain; see the conventions for what it means."""

_ANY = _schema("LayerScope", "analyze", {}, "layerscope_version")

_MARKS: dict[str, tuple[str, ...]] = {
    "sweep": ("run", "task"),
    "training": ("checkpoint", "step"),
    "scaling": ("reading", "size_bootstrap"),
    "analysis": ("layer", "layer_other"),
    "capture": ("hidden",),
}


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Tell what kind of file this is, by the names in it: one of `KINDS`, ``capture``, or None.

    A file that cannot be read is of no kind; whoever reads it says why.
    """
    try:
        with translate_errors(path, ""):
            require_regular_file(Path(path), "result file")
            with open_shared(path) as file:
                names = set(file)
    except FileError:
        return None
    return next((kind for kind, marks in _MARKS.items() if names.issuperset(marks)), None)


def read_result(path: str | os.PathLike[str], kind: str | None) -> xarray.Dataset:
    """Read a result file of one of `KINDS` into memory; of None, any file that LayerScope wrote.

    Raises
    ------
    FileError
        It is missing, damaged, or of another kind.
    """
    schema = KINDS[kind] if kind else _ANY
    found = kind_of(path)
    if found not in (kind, None):
        raise FileError(
            f"{os.fspath(path)} is no {schema.kind}: its kind is {found}\n"
            f"give a file made by layerscope {schema.command}"
        )
    with translate_errors(path, schema.remedy), open_dataset(path, schema) as lazy:
        dataset = lazy.load()
        _require_plain(path, dataset, schema)
    return dataset


def _require_plain(path: str | os.PathLike[str], dataset: xarray.Dataset, schema: FileSchema) -> None:
    """Refuse text that is no Unicode, which no output takes, and file attributes that are neither text nor a number."""
    texts = [name for name, one in dataset.variables.items() if one.dtype.kind in "OSU"]
    for name in texts:
        "\n".join(map(_text, dataset[name].values.reshape(-1))).encode()
    for name, value in dataset.attrs.items():
        if not isinstance(value, str | int | float | np.integer | np.floating):
            raise FileError(f"{path} is damaged: attribute {name} is no text and no number\n{schema.remedy}")
        str(plain_value(value)).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text is expected")
    return value


@checked
def read_analysis(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read an analysis file into memory.

    Raises
    ------
    FileError
        It is missing, damaged, or no analysis.
    """
    return read_result(path, "analysis")


@checked
def read_sweep(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a sweep file into memory.

    Raises
    ------
    FileError
        It is missing, damaged, or no sweep.
    """
    return read_result(path, "sweep")


@checked
def read_scaling(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a scaling file into memory.

    Raises
    ------
    FileError
        It is missing, damaged, or no scaling.
    """
    return read_result(path, "scaling")


@checked
def read_training(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a file of `layerscope.over_training` into memory.

    Raises
    ------
    FileError
        It is missing, damaged, or something else.
    """
    return read_result(path, "training")


def write_result(dataset: xarray.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a result to a netCDF-4 file, replacing what is there only when it is complete.

    Raises
    ------
    FileError
        It cannot be written.
    """
    # In memory first: HDF5 neither says well that a disk is full nor survives it, and some file systems have no locks.
    content = dataset.to_netcdf(None, engine="h5netcdf", format="NETCDF4")
    with replace_whole(Path(path)) as partial:
        partial.write_bytes(content)
