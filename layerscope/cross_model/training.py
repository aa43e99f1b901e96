"""Compare each layer of a model with itself over training, from captures of its checkpoints.

The captures are of the same tokens. The training step of a checkpoint is read from the name of its model.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray

from layerscope.arguments import checked_with
from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import find_measures
from layerscope.measures.record import Kind
from layerscope.progress import progress as progress_bar
from layerscope.provenance import nested, provenance
from layerscope.store.opening import open_source
from layerscope.store.source import StateSource
from layerscope.version import __version__

__all__ = ["over_training", "step_of"]

Capture = str | os.PathLike[str] | xarray.Dataset

_STEP = re.compile(r"(?:step|checkpoint)[-_=]?(\d+)", re.IGNORECASE)
_CARRIED = ("architecture", "num_blocks", "backend", "schedule", "texts")
_ALIKE = ("architecture", "num_blocks", "schedule")


@checked_with(analyze, without=["measures"])
def over_training(
    captures: Sequence[Capture],
    measure: str = "cka",
    *,
    steps: Sequence[int] | None = None,
    progress: bool = False,
    **options: Any,
) -> xarray.Dataset:
    """Measure the similarity of each layer to itself at other steps of training.

    Parameters
    ----------
    captures
        Captures of at least two checkpoints of one model, on the same tokens: files or Datasets, in any order.
    measure
        A pairwise measure.
    steps
        Training step of each capture; by default read from the name of its model by `step_of`.
    progress
        Show a progress bar when standard error is a terminal.
    **options
        Options of `layerscope.analyze`: ``exclude_first``, ``bootstrap``, ``memory``, ``seed``, ….

    Returns
    -------
    xarray.Dataset
        Over ``checkpoint`` (by ``step``, ascending) and ``layer``: ``<measure>_to_last``, each layer compared with
        itself in the last checkpoint, and ``<measure>_to_previous``, compared with the previous checkpoint (NaN for the
        first); with ``_low`` and ``_high`` when bootstrapped. ``step`` and ``model`` are coordinates.

    Raises
    ------
    UsageError
        Fewer than two captures, a per-layer measure, a model name without a step, or the same step twice.
    MeasureError
        Captures of different models or layers, or of different tokens; see also `layerscope.analyze`.
    FileError
        A file is not a complete capture.

    Examples
    --------
    >>> rng, token = np.random.default_rng(0), ("token", np.arange(9))
    >>> def checkpoint(step):
    ...     return xarray.Dataset(
    ...         {"hidden": (("token", "layer", "feature"), rng.normal(size=(9, 2, 3)))},
    ...         {"layer": [0, 1], "layer_name": ("layer", ["embedding", "block.0"])}
    ...         | {"sequence_index": token, "position": token, "token_id": token},
    ...         {"model": f"tiny@step{step}"},
    ...     )
    >>> result = over_training([checkpoint(1000), checkpoint(0), checkpoint(20)], "cka_biased")
    >>> result["step"].values, result["cka_biased_to_last"][-1].values.round(6)
    (array([   0,   20, 1000]), array([1., 1.]))
    """
    if len(captures) < 2:
        raise UsageError(f"{len(captures)} capture: give captures of at least two checkpoints")
    (record,) = find_measures([measure])
    if record.kind is not Kind.PAIRWISE:
        raise UsageError(f"{measure} is a per-layer measure: use a pairwise one, such as cka")
    sources = [_described(capture) for capture in captures]
    training_steps = _steps(sources, steps)
    order = np.argsort(training_steps)
    sources, captures = [sources[place] for place in order], [captures[place] for place in order]
    _require_one_model(sources)
    options = {"align": "tokens", "measures": [measure], **options}
    compared = _compared(captures, options, progress)
    return _labelled(sources, np.sort(training_steps), measure, compared)


def step_of(model: str) -> int | None:
    """Return the training step in a model's revision or name; None without one.

    Examples
    --------
    >>> step_of("EleutherAI/pythia-70m@step1000"), step_of("olmo@stage1-step5000-tokens11B"), step_of("checkpoint-500")
    (1000, 5000, 500)
    >>> step_of("EleutherAI/pythia-70m") is None
    True
    """
    name, _, revision = model.rpartition("@")
    match = _STEP.search(revision) or _STEP.search(name)
    return int(match[1]) if match else None


def _described(capture: Capture) -> StateSource:
    """Return a closed source, whose attributes are still available."""
    with open_source(capture) as source:
        return source


def _steps(sources: Sequence[StateSource], steps: Sequence[int] | None) -> list[int]:
    if steps is not None and len(steps) != len(sources):
        raise UsageError(f"{len(steps)} steps for {len(sources)} captures: give one for each")
    training_steps: list[int] = []
    for place, source in enumerate(sources):
        model = str(source.attrs.get("model", source.name))
        step = step_of(model) if steps is None else steps[place]
        if step is None:
            raise UsageError(
                f"{source.name}: the model's name, {model!r}, does not contain a training step\n"
                "capture a revision such as @step1000, or give the steps with --steps"
            )
        if step in training_steps:
            raise UsageError(
                f"step {step} is given twice: {sources[training_steps.index(step)].name} and {source.name}"
            )
        training_steps.append(step)
    return training_steps


def _require_one_model(sources: Sequence[StateSource]) -> None:
    first = sources[0]
    for source in sources[1:]:
        for name in _ALIKE:
            if source.attrs.get(name) != first.attrs.get(name):
                raise MeasureError(
                    f"{first.name} and {source.name} are not of one model: "
                    f"{name} {first.attrs.get(name)} and {source.attrs.get(name)}"
                )
        if source.width != first.width or source.layer.tolist() != first.layer.tolist():
            raise MeasureError(
                f"{first.name} and {source.name} do not contain the same layers: {_layers(first)} and {_layers(source)}\n"
                "capture every checkpoint with the same --layers"
            )


def _layers(source: StateSource) -> str:
    return f"{','.join(map(str, source.layer.tolist()))} of {source.width} features"


def _compared(
    captures: Sequence[Capture], options: dict[str, Any], show: bool
) -> dict[tuple[int, int], xarray.Dataset]:
    """Analyse each checkpoint against the last and the previous one; the pair of the last two is analysed once."""
    last = len(captures) - 1
    pairs = sorted({(place, last) for place in range(last + 1)} | set(pairwise(range(last + 1))))
    analyses = {}
    with progress_bar("comparing", len(pairs), "pairs", show=show) as advance:
        for first, second in pairs:
            analyses[first, second] = analyze(captures[first], captures[second], **options)
            advance(1)
    return analyses


def _labelled(
    sources: Sequence[StateSource],
    steps: np.ndarray,
    measure: str,
    compared: dict[tuple[int, int], xarray.Dataset],
) -> xarray.Dataset:
    last = len(sources) - 1
    some = compared[0, last]
    models = [str(source.attrs.get("model", source.name)) for source in sources]
    dataset = xarray.Dataset(
        coords={
            "checkpoint": ("checkpoint", np.arange(len(sources))),
            "step": ("checkpoint", steps.astype(np.int64)),
            "model": ("checkpoint", np.array(models, dtype=object)),
            "layer": some["layer"],
            "layer_name": some["layer_name"],
        }
    )
    to_last = {place: (place, last) for place in range(last + 1)}
    to_previous = {place: (place - 1, place) for place in range(1, last + 1)}
    for bound in ("", "_low", "_high"):
        if (name := f"{measure}{bound}") not in some:
            continue
        for against, words, pairs in (
            ("last", "with itself in the last checkpoint", to_last),
            ("previous", "with itself in the checkpoint before", to_previous),
        ):
            values = np.full((len(sources), some.sizes["layer"]), np.nan)
            for place, pair in pairs.items():
                values[place] = compared[pair][name].to_numpy().diagonal()
            attrs = some[name].attrs | {"long_name": f"{some[name].attrs['long_name']}, {words}"}
            dataset[f"{measure}_to_{against}{bound}"] = (("checkpoint", "layer"), values, attrs)
    carried = {name: sources[-1].attrs[name] for name in _CARRIED if name in sources[-1].attrs}
    made = [nested(str(source.attrs["provenance"])) for source in sources if "provenance" in source.attrs]
    return dataset.assign_attrs(
        {"layerscope_version": __version__, "model": models[-1].rpartition("@")[0] or models[-1], "measure": measure}
        | carried,
        provenance=provenance(training={"measure": measure, "checkpoints": models}, captures=made),
    )
