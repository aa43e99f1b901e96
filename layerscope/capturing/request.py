"""Resolve the options of a capture for one model: load it, and decide what runs and which states are recorded."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.batch_size import find_batch_tokens
from layerscope.capturing.feeds import Feed, SequenceStream, feed_of
from layerscope.capturing.layers import block_numbers, layer_names, parse_layers
from layerscope.capturing.options import AUTO, CaptureOptions
from layerscope.capturing.protocol import Backend, CaptureSpec
from layerscope.errors import CaptureError, UsageError
from layerscope.images.folder import ImageFolder
from layerscope.models.interception import require_not_intercepted
from layerscope.models.loading import DTYPES, ModelLike, as_model
from layerscope.models.model import Model
from layerscope.models.sublayers import Sublayers, find_sublayers
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from layerscope.store.index_variables import TokenStrings
from layerscope.store.layout import CaptureLayout, Setting
from layerscope.store.schema import Attribute
from layerscope.texts.sources import Texts, TextSource
from layerscope.version import __version__

__all__ = ["CaptureRequest", "prepare", "resolve"]


_OF_PROVENANCE = ("chat", "generate", "temperature", "attn", "compile")


@dataclass(frozen=True)
class CaptureRequest:
    """A capture that is ready to run: the options of the caller, and their values for this model.

    Attributes
    ----------
    model, source, options
        The model, the texts or images, and the options as given.
    feed
        Reads the source for the model.
    backend, spec
        What runs the model, and the states that it returns.
    max_length
        Longest sequence in tokens; longer texts are truncated. None means no limit.
    store_dtype
        Type in which states are stored.
    """

    model: Model
    source: TextSource | ImageFolder
    options: CaptureOptions
    feed: Feed
    backend: Backend
    spec: CaptureSpec
    max_length: int | None
    store_dtype: torch.dtype

    @property
    def layout(self) -> CaptureLayout:
        """The contents of one row of the file."""
        spec = self.spec
        return CaptureLayout(
            spec.layers,
            tuple(layer_names(spec.layers, spec.schedule)),
            self.model.width,
            self.store_dtype,
            spec.final_norm,
            self.options.spans,
            self.options.stream_names,
            spec.blocks,
            tuple(layer_names(tuple(block + 1 for block in spec.blocks), spec.schedule)),
            self.options.token_strings,
        )

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch: `prepare` has found the number."""
        assert isinstance(self.options.batch_tokens, int)
        return self.options.batch_tokens

    @property
    def of_index(self) -> dict[str, Any]:
        """The options of the index of the sequences."""
        options = self.options
        return {
            "spans": options.spans,
            "metadata": options.metadata_names,
            "roles": options.chat,
            "generated": options.generate > 0,
        }

    @property
    def token_strings(self) -> TokenStrings | None:
        """Return the names of token ids in the vocabulary, if they are stored; empty for the id -1 and for unknown ids."""
        if not self.options.token_strings:
            return None
        self.model.require_tokenizer()
        name = self.model.tokenizer.convert_ids_to_tokens
        return lambda ids: [(name(token) or "") if token >= 0 else "" for token in ids]

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The settings that must match on resume, by the names of the command line."""
        model = self.model
        return self.options.settings(model.name, model.fingerprint(), _name(model.dtype), self.source.name)

    @property
    def _sublayers(self) -> dict[str, Any]:
        """The recorded parts of the blocks and their law, for the provenance."""
        named = {
            f"{stream}_part": sorted({getattr(one, stream).part.path for one in self.spec.sublayers})
            for stream in self.spec.streams
        }
        return {**named, "sublayer_law": self.spec.sublayers[0].law} if named else {}

    def attributes(self, stream: SequenceStream) -> dict[str, Attribute]:
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
                device=model.devices,
                batch_tokens=options.batch_tokens,
                max_length=self.max_length,
                tokens=options.tokens,
                **{name: getattr(options, name) for name in _OF_PROVENANCE if getattr(options, name)},
                **self._sublayers,
                **self.feed.facts,
                threads=torch.get_num_threads(),
            ),
        }


def prepare(model: ModelLike, texts: Texts, options: CaptureOptions) -> CaptureRequest:
    """Load the model if needed, and resolve the options for it.

    Raises
    ------
    UsageError, CaptureError, ScheduleError, ModelError, TextsError
        An option is wrong for this model, or the model or the texts cannot be read.
    """
    source = options.open_source(texts)
    return resolve(as_model(model, **options.of_model), source, options)


def resolve(model: Model, source: TextSource | ImageFolder, options: CaptureOptions) -> CaptureRequest:
    """Resolve the options for a model and opened texts or images; see `prepare`."""
    require_not_intercepted(model)
    max_length = _longest(model, options.max_length) if options.images is None else None
    request = CaptureRequest(
        model=model,
        source=source,
        options=options,
        feed=feed_of(model, source, options, max_length),
        backend=backend_for(options.backend, model),
        spec=_capture_spec(model, options),
        max_length=max_length,
        store_dtype=_store_dtype(model, options.store_dtype),
    )
    if options.batch_tokens != AUTO:
        return request
    found = find_batch_tokens(model, request.backend, request.spec, request.store_dtype, request.feed, max_length)
    return replace(request, options=replace(options, batch_tokens=found))


def _capture_spec(model: Model, options: CaptureOptions) -> CaptureSpec:
    schedule = options.spec.schedule(model.depth)
    if options.final_norm and model.final_norm is None:
        raise CaptureError(
            f"{model.name}: {model.architecture.family} models have no final norm: leave out --final-norm"
        )
    # Without a schedule, states are named after blocks.
    stages = None if options.spec.variant == "identity" else schedule
    layers = parse_layers(options.layers, model.depth, stages)
    streams = tuple(stream for stream in options.stream_names if stream != "resid")
    return CaptureSpec(
        layers if "resid" in options.stream_names else (),
        options.final_norm,
        stages,
        _blocks(options, layers, stages) if streams else (),
        streams,
        _sublayers(model, stages) if streams else (),
    )


def _blocks(options: CaptureOptions, layers: tuple[int, ...], stages: Schedule | None) -> tuple[int, ...]:
    """Return the blocks of which a capture records what attention or MLP adds."""
    blocks = block_numbers(layers)
    if not blocks:
        raise CaptureError(
            f"--layers {options.layers} has no block for --streams {options.streams}: state 0 enters the first block; "
            "add the state that leaves a block"
        )
    if stages is not None and not BACKENDS[options.backend].sublayers_of_stages:
        raise CaptureError(
            f"--streams {options.streams}: the {options.backend} backend records attn and mlp of the model unchanged only: "
            "use --backend hooks, or leave out --schedule"
        )
    return blocks


def _sublayers(model: Model, stages: Schedule | None) -> tuple[Sublayers, ...]:
    """Return the sub-layers of every block of the model."""
    sublayers = tuple(find_sublayers(model))
    if any(len(stage) > 1 for stage in stages or ()) and any(one.law != "sum" for one in sublayers):
        raise CaptureError(
            f"{model.name}: {model.architecture.family} blocks end with a norm, so attn and mlp of a stage of several blocks are "
            "not defined: capture --streams resid, or a schedule without parallel stages"
        )
    return sublayers


def _longest(model: Model, max_length: int | None) -> int | None:
    if max_length is None:
        return model.context
    if model.max_positions is not None and max_length > model.max_positions:
        raise CaptureError(f"--max-length {max_length}: {model.name} takes {model.max_positions} tokens at most")
    if model.context is not None and max_length > model.context:
        warnings.warn(
            f"--max-length {max_length}: {model.name} is made for {model.context} tokens; longer texts run beyond that",
            stacklevel=6,  # the caller of the public function
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
