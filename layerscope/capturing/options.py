"""The options of a capture: one frozen record, and how its values are read.

`layerscope.capture`, the check of a resumed capture and the provenance of a file all read `CaptureOptions`. This module
imports no model.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from layerscope.capturing.token_selection import TokenSelection
from layerscope.errors import UsageError, unknown_name
from layerscope.execution.sampling import sampling_options
from layerscope.images.folder import FACTS, ImageFolder
from layerscope.models.attention import Attention
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.schedules.spec import ScheduleLike, Spec, as_spec
from layerscope.store.layout import Setting
from layerscope.store.schema import CAPTURE
from layerscope.stream_names import STREAMS
from layerscope.texts.sources import Texts, TextSource, open_texts

__all__ = [
    "AUTO",
    "BATCH_TOKENS",
    "DEFAULT_TEXTS",
    "BatchTokens",
    "CaptureOptions",
    "parse_metadata",
    "parse_streams",
]

# A file records the dtype as compute_dtype and names the stack after the model; a resumed capture may change the device.
_MODEL_OPTIONS = ("dtype", "device", "device_map", "stack")
_OF_MODEL = (*_MODEL_OPTIONS, "attn")
# Options that older versions do not have: not a setting while they have their defaults.
_LATER = (
    "split",
    "chat",
    "generate",
    "temperature",
    "metadata",
    "token_strings",
    "streams",
    "attn",
    "compile",
    "images",
)

_OF_TEXTS = (
    "text_field",
    "split",
    "metadata",
    "token_strings",
    "max_length",
    "chat",
    "generate",
    "temperature",
    "spans",
)

DEFAULT_TEXTS = "builtin:passages"
"""The texts of a capture by default."""

BATCH_TOKENS = 2048
"""Tokens of a batch by default."""

AUTO: Literal["auto"] = "auto"
"""As many tokens as fit the device."""

BatchTokens = int | Literal["auto"]
"""Tokens of a batch; ``"auto"`` for as many as fit the device."""


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Options that decide which states of a model a capture records, and how.

    The fields are parameters of `layerscope.capture` and are documented there. Their order is the order in which a resumed
    capture compares them.

    Raises
    ------
    UsageError
        An option that is wrong for every model.

    Examples
    --------
    >>> CaptureOptions(tokens="sample:3").selection
    TokenSelection(kind='sample', size=3, role='', seed=0)
    """

    backend: str = "hooks"
    schedule: ScheduleLike = "identity"
    images: str | os.PathLike[str] | None = None
    text_field: str | None = None
    split: str = "line"
    metadata: Annotated[str | Iterable[str], 'names such as "author,year"'] | None = None
    token_strings: bool = False
    limit: int | None = None
    max_length: int | None = None
    layers: Annotated[str, 'a string such as "0,5-10"'] | None = None
    chat: bool = False
    generate: int = 0
    temperature: float = 0.0
    tokens: Annotated[str, '"all", "first", "last", "mean", "generated", "sample:K" or "role:NAME"'] = "all"
    seed: int = 0
    streams: Annotated[str | Iterable[str], 'names such as "resid,attn,mlp"'] = "resid"
    final_norm: bool = False
    spans: bool = False
    store_dtype: str = "same"
    batch_tokens: BatchTokens = BATCH_TOKENS
    attn: Attention | None = None
    compile: bool = False
    dtype: str | None = None
    device: str | None = None
    device_map: DeviceMap | None = None
    stack: Stack | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"--max-length {self.max_length}: give 1 token or more")
        if self.batch_tokens != AUTO and self.batch_tokens < 1:
            raise UsageError(f"--batch-tokens {self.batch_tokens}: give 1 token or more")
        object.__setattr__(self, "streams", ",".join(parse_streams(self.streams)))
        object.__setattr__(self, "metadata", ",".join(parse_metadata(self.metadata)) or None)
        if self.images is not None:
            self._take_images(self.images)
        check_sampling(self.generate, self.temperature)
        if self.compile and (self.backend != "hooks" or self.stream_names != ("resid",)):
            raise UsageError("--compile is for --backend hooks and --streams resid: the others read inside the blocks")
        if self.spans and (self.chat or self.generate or self.selection.kind == "mean"):
            raise UsageError("--spans is for texts as given: leave it out with --chat, --generate, and --tokens mean")
        # Read both now: an error must come before the model is loaded.
        _ = self.selection, self.spec

    def _take_images(self, images: str | os.PathLike[str]) -> None:
        """Refuse options of texts; the facts of the images are their metadata."""
        facts = ",".join(FACTS)
        for field in fields(self):
            if field.name in _OF_TEXTS and getattr(self, field.name) not in (field.default, facts):
                option = field.name.replace("_", "-")
                raise UsageError(f"--{option} is for texts: leave it out with --images")
        object.__setattr__(self, "images", os.fspath(images))
        object.__setattr__(self, "metadata", facts)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> "CaptureOptions":
        """Return the options among the arguments of a function that takes these and others."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    @property
    def of_model(self) -> dict[str, Any]:
        """The options with which the model is loaded."""
        return {name: getattr(self, name) for name in _OF_MODEL}

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The streams that are recorded, in the order of `STREAMS`."""
        return parse_streams(self.streams)

    @property
    def metadata_names(self) -> tuple[str, ...]:
        """The fields of the texts that are kept."""
        return parse_metadata(self.metadata)

    def open_source(self, texts: Texts) -> TextSource | ImageFolder:
        """Open the texts, or the images, with these options.

        Raises
        ------
        UsageError, TextsError
            See `layerscope.texts.sources.open_texts`, or both texts and images are given.
        """
        if self.images is not None:
            if not (isinstance(texts, str) and texts == DEFAULT_TEXTS):
                raise UsageError("--images and --texts exclude each other: give one of them")
            return ImageFolder(self.images, self.limit)
        return open_texts(
            texts,
            field=self.text_field,
            metadata=self.metadata_names,
            split=self.split,
            chat=self.chat,
            limit=self.limit,
        )

    @cached_property
    def selection(self) -> "TokenSelection":
        """The tokens of each sequence that are stored."""
        return TokenSelection.parse(self.tokens, self.seed, chat=self.chat, generate=self.generate > 0)

    @cached_property
    def spec(self) -> Spec:
        """The schedule, parsed."""
        return as_spec(self.schedule)

    def settings(self, model: str, weights: str, compute_dtype: str, texts: str) -> dict[str, Setting]:
        """Return the settings that must match on resume, by the names of the command line.

        Parameters
        ----------
        model, weights
            Name of the model, and the commit or hash of its weights.
        compute_dtype
            Type in which the model computes.
        texts
            Name of the text source.
        """
        options = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _LATER or getattr(self, field.name) != field.default
        }
        return {
            "model": model,
            "weights": weights,
            "compute_dtype": compute_dtype,
            "backend": self.backend,
            "schedule": str(self.spec),
            "texts": texts,
            **{name: value for name, value in options.items() if name not in ("backend", "schedule", *_MODEL_OPTIONS)},
            "store_dtype": compute_dtype if self.store_dtype == "same" else self.store_dtype,
        }


def check_sampling(generate: int, temperature: float) -> None:
    """Refuse options of a continuation that are out of range.

    Raises
    ------
    UsageError
        The number of tokens is negative, or the temperature is out of range or given without a continuation.
    """
    if generate < 0:
        raise UsageError(f"--generate {generate}: give the most tokens to add, 1 or more")
    sampling_options(temperature)
    if temperature and not generate:
        raise UsageError("--temperature is for --generate: give --generate N, or leave it out")


def parse_metadata(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Read ``--metadata``: names of fields, which become variables of the file.

    Raises
    ------
    UsageError
        A name is empty, given twice, or the name of another variable or dimension of a capture.

    Examples
    --------
    >>> parse_metadata("author, meta.year"), parse_metadata(None)
    (('author', 'meta.year'), ())
    """
    if names is None:
        return ()
    parsed = tuple(name.strip() for name in (names.split(",") if isinstance(names, str) else names))
    taken = {*CAPTURE.variables, *(dimension for one in CAPTURE.variables.values() for dimension in one.dims)}
    for name in parsed:
        if not name or set(name) & set("/,\0") or name == ".":
            raise UsageError(
                f"--metadata {name!r}: not a name for a variable: give names of fields, such as author,year"
            )
        if name in taken:
            raise UsageError(
                f"--metadata {name}: a capture has a variable or a dimension {name}: rename the field in the texts"
            )
    if len(set(parsed)) < len(parsed):
        raise UsageError(f"--metadata {','.join(parsed)}: name each field once")
    return parsed


def parse_streams(streams: str | Iterable[str]) -> tuple[str, ...]:
    """Read ``--streams``: some of resid, attn and mlp, in any order.

    Raises
    ------
    UsageError
        A name is unknown, or there is none.

    Examples
    --------
    >>> parse_streams("mlp,resid"), parse_streams(["attn"])
    (('resid', 'mlp'), ('attn',))
    """
    names = [name.strip() for name in (streams.split(",") if isinstance(streams, str) else streams)]
    if not any(names):
        raise UsageError(f"--streams is empty: name one or more of {', '.join(STREAMS)}")
    for name in names:
        if name not in STREAMS:
            raise unknown_name("stream", name, STREAMS)
    return tuple(name for name in STREAMS if name in names)
