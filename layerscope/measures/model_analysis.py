"""An analysis straight from a model: its states are measured as they are computed, and none is stored.

It joins the capture, whose options it takes, and the accumulator; it knows no formula.
"""

import os
from collections.abc import Iterable
from typing import Any

import xarray

from layerscope.arguments import Stream, checked_with
from layerscope.capturing.capture import capture_to_sinks
from layerscope.capturing.options import CaptureOptions
from layerscope.capturing.request import prepare
from layerscope.measures.streaming import Statistics
from layerscope.models.model import Model

__all__ = ["analyze_model"]


@checked_with(CaptureOptions)
def analyze_model(
    model: Model | str | os.PathLike[str],
    texts: str | os.PathLike[str] | Stream[str] = "builtin:passages",
    *,
    measures: str | Iterable[str] | None = None,
    exclude_first: int = 0,
    bootstrap: int = 0,
    memory: str | int = "4GB",
    seed: int = 0,
    **options: Any,
) -> xarray.Dataset:
    """Measure how alike the layers of a model are, without storing a state.

    What `layerscope.capture` and then `layerscope.analyze` give, up to 4,096 tokens. The states go by once, so above that the
    measures that need several passes (``cka``, ``cosine_centered``) are those of a seeded sample of 4,096 tokens, fewer if a
    quarter of the memory does not hold them; each variable says so in its ``estimator`` and ``sample``.

    Parameters
    ----------
    model, texts
        As for `layerscope.capture`.
    measures, exclude_first, bootstrap, memory
        As for `layerscope.analyze`.
    seed
        Of everything drawn.
    **options
        Of `layerscope.capture`: ``limit``, ``max_length``, ``dtype``, ``device``, ``batch_tokens``, ``schedule``, ….

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
    settings: dict[str, Any] = {"exclude_first": exclude_first, "bootstrap": bootstrap, "memory": memory, "seed": seed}
    Statistics(measures, **settings)  # what is wrong with these is said before a model is loaded
    request = prepare(model, texts, CaptureOptions(seed=seed, **options))
    layout = request.layout
    statistics = Statistics(measures, layer=layout.layer, layer_name=layout.layer_name, **settings)
    return statistics.result(capture_to_sinks(request, [statistics]).attributes)
