"""The kinds of result files: the schema of each, and the variables by which a file is recognised."""

from collections.abc import Mapping
from dataclasses import dataclass

from layerscope.store.file_schema import FileSchema, Holds, Variable
from layerscope.store.schema import STATES

__all__ = ["ANY_RESULT", "KINDS", "ResultKind", "kind_with"]


@dataclass(frozen=True)
class ResultKind:
    """A kind of result file.

    Attributes
    ----------
    schema
        The contents of such a file.
    marks
        Variables or dimensions that together occur only in such a file.
    """

    schema: FileSchema
    marks: frozenset[str]


def _variables(dims: str, holds: Holds, names: str, *, required: bool = False) -> dict[str, Variable]:
    """Return variables that share dimensions and type; names and dimensions are separated by blanks."""
    return {name: Variable(tuple(dims.split()), holds, required) for name in names.split()}


def _with_ends(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return the variables of the lower and upper ends of 95 % intervals."""
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
    "stream": str,
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
    "stream": str,
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
        | {"measure": str, "settings": str, "bootstrap": int, "alignment": str}
        | {"massive_warning": str, "mean_warning": str},
        required_attributes=required_attributes,
        variable_attributes=_OF_VARIABLES,
        endings=endings or {},
    )


_ANALYSIS = {
    **_variables("layer", Holds.INTEGER, "layer", required=True),
    **_variables("layer_other", Holds.INTEGER, "layer_other", required=True),
    **_variables("layer", Holds.TEXT, "layer_name"),
    **_variables("layer_other", Holds.TEXT, "layer_name_other"),
    **_variables("block", Holds.INTEGER, "block"),
    **_variables("block_other", Holds.INTEGER, "block_other"),
    **_variables("block", Holds.TEXT, "block_name"),
    **_variables("block_other", Holds.TEXT, "block_name_other"),
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

KINDS: dict[str, ResultKind] = {
    "sweep": ResultKind(_schema("sweep", "sweep", _SWEEP), frozenset({"run", "task"})),
    "training": ResultKind(
        _schema("training", "training", _TRAINING, "measure", endings=_OVER_TRAINING), frozenset({"checkpoint", "step"})
    ),
    "scaling": ResultKind(_schema("scaling", "scaling", _SCALING), frozenset({"reading", "size_bootstrap"})),
    "analysis": ResultKind(
        _schema("analysis", "analyze", _ANALYSIS, "provenance"), frozenset({"layer", "layer_other"})
    ),
}
"""The kinds of result files, in the order in which a file is compared with them; the conventions define the variables."""

ANY_RESULT = _schema("LayerScope", "analyze", {}, "layerscope_version")
"""Schema of a file of unknown kind."""


def kind_with(names: frozenset[str]) -> str | None:
    """Return the kind of a file with these variables: one of `KINDS`, ``capture``, or None.

    Examples
    --------
    >>> kind_with(frozenset({"layer", "layer_other", "cosine"})), kind_with(frozenset({"hidden", "layer"}))
    ('analysis', 'capture')
    """
    kind = next((name for name, kind in KINDS.items() if kind.marks <= names), None)
    return kind or ("capture" if names & STATES.keys() else None)
