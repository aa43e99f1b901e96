"""A capture that has been asked for, checked and made definite: which states of which model, which tokens, how batched."""

import os
import warnings
from dataclasses import dataclass
from typing import Annotated

import torch

from layerscope.arguments import Stream, checked
from layerscope.capturing.backends import backend_for
from layerscope.capturing.protocol import Backend, Wanted
from layerscope.capturing.selection import TokenSelection, layer_names, parse_layers
from layerscope.capturing.settings import settings_of
from layerscope.errors import CaptureError, UsageError
from layerscope.execution.taps import check_untapped
from layerscope.models.loading import DTYPES, load_model
from layerscope.models.model import Model
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import ScheduleLike, Spec, as_spec
from layerscope.store.layout import CaptureLayout, Setting
from layerscope.store.schema import Attribute
from layerscope.texts.sources import TextSource, open_texts
from layerscope.texts.tokens import TokenStream
from layerscope.version import __version__

__all__ = ["CaptureRequest", "prepare"]


@dataclass(frozen=True)
class CaptureRequest:
    """Everything a capture needs to know before the first text is read.

    Attributes
    ----------
    model, backend, wanted
        What runs, how, and which states are kept.
    spec
        The schedule as it is called.
    source, selection, max_length
        The texts, which of their tokens become rows, and where a text is cut.
    spans
        Whether the characters that each token stands for are kept.
    batch_tokens
        Tokens of a batch, padding included.
    store_dtype
        What rows are stored as.
    settings
        What a resumed capture must agree in, by the names of the command line.
    """

    model: Model
    backend: Backend
    wanted: Wanted
    spec: Spec
    source: TextSource
    selection: TokenSelection
    max_length: int | None
    spans: bool
    batch_tokens: int
    store_dtype: torch.dtype
    settings: dict[str, Setting]

    @property
    def layout(self) -> CaptureLayout:
        """What a row of the file consists of."""
        names = tuple(layer_names(self.wanted.layers, self.wanted.schedule))
        return CaptureLayout(
            self.wanted.layers, names, self.model.width, self.store_dtype, self.wanted.final_norm, self.spans
        )

    def attributes(self, stream: TokenStream) -> dict[str, Attribute]:
        """Return the attributes of the file, once the texts have been counted."""
        model = self.model
        return {
            "layerscope_version": __version__,
            "model": model.name,
            "architecture": model.architecture.family,
            "num_blocks": model.depth,
            "parameters": model.parameters,
            "backend": str(self.settings["backend"]),
            "compute_dtype": _name(model.dtype),
            "schedule": str(self.spec),
            "schedule_blocks": str(self.spec.schedule(model.depth)),
            "texts": self.source.name,
            "truncated_sequences": stream.truncated,
            "skipped_texts": stream.skipped + self.source.skipped,
            "provenance": provenance(
                weights=self.settings["weights"],
                seed=self.selection.seed,
                device=str(model.device),
                batch_tokens=self.batch_tokens,
                max_length=self.max_length,
                tokens=str(self.selection),
                threads=torch.get_num_threads(),
            ),
        }


@checked
def prepare(
    model: Model | str | os.PathLike[str],
    texts: str | os.PathLike[str] | Stream[str] = "builtin:passages",
    *,
    text_field: str | None = None,
    limit: int | None = None,
    max_length: int | None = None,
    backend: str = "hooks",
    schedule: ScheduleLike = "identity",
    dtype: str | None = None,
    store_dtype: str = "same",
    layers: Annotated[str, 'a string such as "0,5-10"'] | None = None,
    tokens: Annotated[str, '"all", "last" or "sample:K"'] = "all",
    batch_tokens: int = 2048,
    final_norm: bool = False,
    spans: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> CaptureRequest:
    """Check the options of a capture, load the model, and make definite what is to be captured.

    The options are those of `layerscope.capturing.capture.capture`.

    Raises
    ------
    UsageError, CaptureError, ScheduleError, ModelError, TextsError
        An option that makes no sense, or none for this model; a model or texts that cannot be had.
    """
    source = open_texts(texts, field=text_field, limit=limit)
    selection = TokenSelection.parse(tokens, seed)
    spec = as_spec(schedule)
    if isinstance(model, Model):
        if dtype is not None or device is not None:
            raise UsageError("dtype and device are chosen when a model is loaded: give them to load_model")
    else:
        model = load_model(model, dtype=dtype or "float32", device=device or "cpu")
    check_untapped(model)
    stored = _store_dtype(model, store_dtype)
    if batch_tokens < 1:
        raise UsageError(f"--batch-tokens {batch_tokens}: a batch holds 1 token or more")
    return CaptureRequest(
        model=model,
        backend=backend_for(backend, model),
        wanted=_wanted(model, spec, layers, final_norm),
        spec=spec,
        source=source,
        selection=selection,
        max_length=_longest(model, max_length),
        spans=spans,
        batch_tokens=batch_tokens,
        store_dtype=stored,
        settings=settings_of(
            model.name,
            model.fingerprint(),
            _name(model.dtype),
            source.name,
            text_field=text_field,
            limit=limit,
            max_length=max_length,
            backend=backend,
            schedule=spec,
            store_dtype=store_dtype,
            layers=layers,
            tokens=tokens,
            batch_tokens=batch_tokens,
            final_norm=final_norm,
            spans=spans,
            seed=seed,
        ),
    )


def _wanted(model: Model, spec: Spec, layers: str | None, final_norm: bool) -> Wanted:
    schedule: Schedule | None = spec.schedule(model.depth)
    if spec.variant == "identity":
        schedule = None  # the model as it is, whose states are named after its blocks
    if final_norm and model.final_norm is None:
        raise CaptureError(
            f"{model.name}: {model.architecture.family} models have no final norm: leave out --final-norm"
        )
    return Wanted(parse_layers(layers, model.depth, schedule), final_norm, schedule)


def _longest(model: Model, max_length: int | None) -> int | None:
    if max_length is not None and max_length < 1:
        raise UsageError(f"--max-length {max_length}: keep 1 token or more")
    if max_length is None:
        return model.context
    if model.max_positions is not None and max_length > model.max_positions:
        raise CaptureError(f"--max-length {max_length}: {model.name} takes {model.max_positions} tokens at most")
    if model.context is not None and max_length > model.context:
        warnings.warn(
            f"--max-length {max_length}: {model.name} is made for {model.context} tokens, and longer texts run beyond that",
            stacklevel=6,  # above prepare, capture and their checks
        )
    return max_length


def _store_dtype(model: Model, store_dtype: str) -> torch.dtype:
    if store_dtype == "same":
        return model.dtype
    if store_dtype not in DTYPES:
        raise UsageError(f"unknown store dtype {store_dtype!r}: choose same, {', '.join(DTYPES)}")
    return DTYPES[store_dtype]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
