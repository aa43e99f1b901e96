"""What a resumed capture must agree in, by the names of the command line: of a loaded model, or of one that is only named.

Knows options and names; loads nothing.
"""

import os
from collections.abc import Mapping

from layerscope.capturing.selection import TokenSelection
from layerscope.models.loading import Identity
from layerscope.schedules.schedule import Schedule, Stage
from layerscope.schedules.spec import Spec, as_spec
from layerscope.store.layout import Setting
from layerscope.texts.sources import TextSource, open_texts

__all__ = ["settings_of", "settings_unloaded"]


def settings_of(
    model: str,
    weights: str,
    compute_dtype: str,
    source: TextSource,
    selection: TokenSelection,
    *,
    backend: str,
    spec: Spec,
    layers: str | None,
    final_norm: bool,
    max_length: int | None,
    spans: bool,
    store_dtype: str,
    batch_tokens: int,
    origin: Mapping[str, Setting],
) -> dict[str, Setting]:
    """Return the settings; a model is told by its name and by what names its weights."""
    return {
        "model": model,
        "weights": weights,
        "compute_dtype": compute_dtype,
        "backend": backend,
        "schedule": str(spec),
        "texts": source.name,
        **origin,
        "max_length": max_length,
        "layers": layers,
        "tokens": str(selection),
        "seed": selection.seed,
        "final_norm": final_norm,
        "spans": spans,
        "store_dtype": compute_dtype if store_dtype == "same" else store_dtype,
        "batch_tokens": batch_tokens,
    }


def settings_unloaded(
    who: Identity,
    weights: str,
    texts: str | os.PathLike[str],
    *,
    text_field: str | None,
    limit: int | None,
    max_length: int | None,
    backend: str,
    schedule: Schedule | Spec | str | tuple[Stage, ...],
    dtype: str | None,
    store_dtype: str,
    layers: str | None,
    tokens: str,
    batch_tokens: int,
    final_norm: bool,
    spans: bool,
    seed: int,
    device: str | None,
) -> dict[str, Setting]:
    """Return the settings of a capture by the options of `layerscope.capturing.request.prepare`, its model not loaded.

    Options that make no sense are not refused here: a file that agrees with all of them was made with them.
    """
    return settings_of(
        who.name,
        weights,
        dtype or "float32",
        open_texts(texts, field=text_field, limit=limit),
        TokenSelection.parse(tokens, seed),
        backend=backend,
        spec=as_spec(schedule),
        layers=layers,
        final_norm=final_norm,
        max_length=max_length,
        spans=spans,
        store_dtype=store_dtype,
        batch_tokens=batch_tokens,
        origin={"text_field": text_field, "limit": limit},
    )
