"""Resolve the options of a capture for one model: load it, and decide what runs and which states are recorded."""

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from layerscope.capturing.backends import backend_for
from layerscope.capturing.options import CaptureOptions, layer_names, parse_layers
from layerscope.capturing.protocol import Backend, CaptureSpec
from layerscope.errors import CaptureError, UsageError
from layerscope.execution.interception import require_not_intercepted
from layerscope.models.loading import DTYPES, load_model
from layerscope.models.model import Model
from layerscope.provenance import provenance
from layerscope.store.layout import CaptureLayout, Setting
from layerscope.store.schema import Attribute
from layerscope.texts.sources import TextSource, open_texts
from layerscope.texts.tokens import TokenStream
from layerscope.version import __version__

__all__ = ["CaptureRequest", "prepare"]


@dataclass(frozen=True)
class CaptureRequest:
    """A capture that is ready to run: the options of the caller, and their values for this model.

    Attributes
    ----------
    model, source, options
        The model, the texts and the options as given.
    backend, spec
        What runs the model, and the states that it returns.
    max_length
        Longest sequence in tokens; longer texts are truncated. None means no limit.
    store_dtype
        Type in which states are stored.
    """

    model: Model
    source: TextSource
    options: CaptureOptions
    backend: Backend
    spec: CaptureSpec
    max_length: int | None
    store_dtype: torch.dtype

    @property
    def layout(self) -> CaptureLayout:
        """The contents of one row of the file."""
        names = tuple(layer_names(self.spec.layers, self.spec.schedule))
        return CaptureLayout(
            self.spec.layers, names, self.model.width, self.store_dtype, self.spec.final_norm, self.options.spans
        )

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The settings that must match on resume, by the names of the command line."""
        model = self.model
        return self.options.settings(model.name, model.fingerprint(), _name(model.dtype), self.source.name)

    def attributes(self, stream: TokenStream) -> dict[str, Attribute]:
        """Return the attributes of the file, once all texts are counted."""
        model, options = self.model, self.options
        return {
            "layerscope_version": __version__,
            "model": model.name,
            "architecture": model.architecture.family,
            "num_blocks": model.depth,
            "parameters": model.parameters,
            "backend": options.backend,
            "compute_dtype": _name(model.dtype),
            "schedule": str(options.spec),
            "schedule_blocks": str(options.spec.schedule(model.depth)),
            "texts": self.source.name,
            "truncated_sequences": stream.truncated,
            "skipped_texts": stream.skipped + self.source.skipped,
            "provenance": provenance(
                weights=self.settings["weights"],
                seed=options.seed,
                device=str(model.device),
                batch_tokens=options.batch_tokens,
                max_length=self.max_length,
                tokens=options.tokens,
                threads=torch.get_num_threads(),
            ),
        }


def prepare(model: Model | str | os.PathLike[str], texts: Any, options: CaptureOptions) -> CaptureRequest:
    """Load the model if needed, and resolve the options for it.

    Raises
    ------
    UsageError, CaptureError, ScheduleError, ModelError, TextsError
        An option is wrong for this model, or the model or the texts cannot be read.
    """
    source = open_texts(texts, field=options.text_field, limit=options.limit)
    if not isinstance(model, Model):
        model = load_model(model, dtype=options.dtype or "float32", device=options.device or "cpu")
    elif options.dtype is not None or options.device is not None:
        raise UsageError("dtype and device are set when a model is loaded: give them to load_model")
    require_not_intercepted(model)
    return CaptureRequest(
        model=model,
        source=source,
        options=options,
        backend=backend_for(options.backend, model),
        spec=_capture_spec(model, options),
        max_length=_longest(model, options.max_length),
        store_dtype=_store_dtype(model, options.store_dtype),
    )


def _capture_spec(model: Model, options: CaptureOptions) -> CaptureSpec:
    schedule = options.spec.schedule(model.depth)
    if options.final_norm and model.final_norm is None:
        raise CaptureError(
            f"{model.name}: {model.architecture.family} models have no final norm: leave out --final-norm"
        )
    # Without a schedule, states are named after blocks.
    stages = None if options.spec.variant == "identity" else schedule
    return CaptureSpec(parse_layers(options.layers, model.depth, stages), options.final_norm, stages)


def _longest(model: Model, max_length: int | None) -> int | None:
    if max_length is None:
        return model.context
    if model.max_positions is not None and max_length > model.max_positions:
        raise CaptureError(f"--max-length {max_length}: {model.name} takes {model.max_positions} tokens at most")
    if model.context is not None and max_length > model.context:
        warnings.warn(
            f"--max-length {max_length}: {model.name} is made for {model.context} tokens; longer texts run beyond that",
            stacklevel=5,  # the caller of the public function
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
