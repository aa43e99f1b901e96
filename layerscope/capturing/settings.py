"""What a resumed capture must agree in, by the names of the command line.

Knows options and names; loads nothing, so that a model which is only named can be asked for too.
"""

from layerscope.capturing.selection import TokenSelection
from layerscope.schedules.spec import ScheduleLike, as_spec
from layerscope.store.layout import Setting

__all__ = ["settings_of"]


def settings_of(
    model: str,
    weights: str,
    compute_dtype: str,
    texts: str,
    *,
    text_field: str | None,
    limit: int | None,
    max_length: int | None,
    backend: str,
    schedule: ScheduleLike,
    store_dtype: str,
    layers: str | None,
    tokens: str,
    batch_tokens: int,
    final_norm: bool,
    spans: bool,
    seed: int,
) -> dict[str, Setting]:
    """Return the settings of a capture by the options of `layerscope.capturing.request.prepare`.

    A model is told by its name and by what names its weights, texts by the name of their source. Options that make no sense
    for the model are not refused here.
    """
    return {
        "model": model,
        "weights": weights,
        "compute_dtype": compute_dtype,
        "backend": backend,
        "schedule": str(as_spec(schedule)),
        "texts": texts,
        "text_field": text_field,
        "limit": limit,
        "max_length": max_length,
        "layers": layers,
        "tokens": str(TokenSelection.parse(tokens, seed)),
        "seed": seed,
        "final_norm": final_norm,
        "spans": spans,
        "store_dtype": compute_dtype if store_dtype == "same" else store_dtype,
        "batch_tokens": batch_tokens,
    }
