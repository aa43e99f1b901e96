"""Analyse a model without a capture file: states are measured while they are computed, and are not stored."""

from collections.abc import Iterable
from typing import Any

import xarray

from layerscope.arguments import checked_with
from layerscope.capturing.capture import capture_to_sinks
from layerscope.capturing.options import CaptureOptions
from layerscope.capturing.request import prepare
from layerscope.measures.device import has_float64
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.streaming import Statistics
from layerscope.models.loading import ModelLike
from layerscope.texts.sources import Texts

__all__ = ["analyze_model"]


@checked_with(CaptureOptions)
def analyze_model(
    model: ModelLike,
    texts: Texts = "builtin:passages",
    *,
    measures: str | Iterable[str] | None = None,
    stream: str = "resid",
    exclude_first: int = 0,
    bootstrap: int = 0,
    memory: str | int = "4GB",
    seed: int = 0,
    **options: Any,
) -> xarray.Dataset:
    """Measure how alike the layers of a model are, without storing a state.

    Up to 4,096 tokens, the result is that of `layerscope.capture` followed by `layerscope.analyze`. Above, the measures that
    need several passes (``cka``, ``cosine_centered``) are computed on a seeded sample of 4,096 tokens, or fewer if these do not
    fit into a quarter of the memory, because states are seen only once. The attributes ``estimator`` and ``sample`` of each
    variable record this.

    Parameters
    ----------
    model, texts
        See `layerscope.capture`.
    measures, stream, exclude_first, bootstrap, memory
        See `layerscope.analyze`.
    seed
        Random seed for samples and replicates.
    **options
        Options of `layerscope.capture`: ``limit``, ``max_length``, ``dtype``, ``device``, ``batch_tokens``, ``schedule``, …. The
        measures are computed on the device of the model too, if it has float64.

    Returns
    -------
    xarray.Dataset
        As from `layerscope.analyze`.

    Raises
    ------
    UsageError, ModelError, TextsError, ScheduleError, CaptureError, MeasureError
        As from `layerscope.capture` and `layerscope.analyze`.

    Examples
    --------
    >>> analyze_model("no/such/folder.gguf", ["one text"])
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: no/such/folder.gguf: there is no such file, nor a folder no/such
    """
    settings: dict[str, Any] = {
        "stream": stream,
        "exclude_first": exclude_first,
        "bootstrap": bootstrap,
        "memory": memory,
    }
    analysis = AnalysisOptions.from_arguments(
        measures=measures, seed=seed, **settings
    )  # refused before a model is loaded
    request = prepare(model, texts, CaptureOptions(seed=seed, streams=(stream, *analysis.added), **options))
    numbers, names = request.layout.axis(stream)
    device = request.model.device
    settings["device"] = str(device) if has_float64(device) else "cpu"
    statistics = Statistics(measures, layer=numbers, layer_name=names, seed=seed, **settings)
    return statistics.result(capture_to_sinks(request, [statistics]).attributes)
