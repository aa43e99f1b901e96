"""The options of a capture: one frozen record, and how its values are read.

`layerscope.capture`, the check of a resumed capture and the provenance of a file all read `CaptureOptions`. This module
imports no model.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from layerscope.capturing.token_selection import TokenSelection
from layerscope.errors import CaptureError, UsageError, unknown_name
from layerscope.execution.sampling import sampling_options
from layerscope.models.attention import Attention
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.schedules.grammar import print_stage
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import ScheduleLike, Spec, as_spec
from layerscope.store.layout import Setting
from layerscope.store.schema import CAPTURE
from layerscope.stream_names import STREAMS
from layerscope.texts.sources import Texts, TextSource, open_texts

__all__ = [
    "AUTO",
    "BATCH_TOKENS",
    "BatchTokens",
    "CaptureOptions",
    "block_numbers",
    "layer_names",
    "parse_layers",
    "parse_metadata",
    "parse_streams",
]

# A file records the dtype as compute_dtype and names the stack after the model; a resumed capture may change the device.
_MODEL_OPTIONS = ("dtype", "device", "device_map", "stack")
_OF_MODEL = (*_MODEL_OPTIONS, "attn")
# Options that older versions do not have: not a setting while they have their defaults.
_LATER = ("split", "chat", "generate", "temperature", "metadata", "token_strings", "streams", "attn", "compile")

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
        check_sampling(self.generate, self.temperature)
        if self.compile and (self.backend != "hooks" or self.stream_names != ("resid",)):
            raise UsageError("--compile is for --backend hooks and --streams resid: the others read inside the blocks")
        if self.spans and (self.chat or self.generate or self.selection.kind == "mean"):
            raise UsageError("--spans is for texts as given: leave it out with --chat, --generate, and --tokens mean")
        # Read both now: an error must come before the model is loaded.
        _ = self.selection, self.spec

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

    def open_texts(self, texts: Texts) -> TextSource:
        """Open the texts with these options.

        Raises
        ------
        UsageError, TextsError
            See `layerscope.texts.sources.open_texts`.
        """
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


def parse_layers(spec: str | None, depth: int, schedule: Schedule | None = None) -> tuple[int, ...]:
    """Read ``--layers``: state numbers and ranges, such as ``"0,5-10"``; None selects all states.

    A model of T blocks has states 0 … T; under a schedule of S stages, 0 … S.

    Raises
    ------
    UsageError
        The text is malformed.
    CaptureError
        The model or the schedule has no such state.

    Examples
    --------
    >>> parse_layers("0,2-4", depth=6)
    (0, 2, 3, 4)
    >>> parse_layers(None, depth=2)
    (0, 1, 2)
    """
    last = depth if schedule is None else len(schedule)
    if spec is None:
        return tuple(range(last + 1))
    layers: set[int] = set()
    for part in spec.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, until = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > until:
            raise UsageError(
                f"--layers {spec!r}: {part.strip()!r} is not a state number or a rising range; write for example 0,5-10"
            )
        layers.update(range(first, until + 1))
    if max(layers) > last:
        owner = f"model of {depth} blocks" if schedule is None else f"schedule of {last} stages"
        raise CaptureError(f"--layers {spec}: there is no state {max(layers)}; a {owner} has states 0 to {last}")
    return tuple(sorted(layers))


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


def block_numbers(layers: tuple[int, ...]) -> tuple[int, ...]:
    """Return the blocks whose outputs are the given states: block l-1 for state l.

    Examples
    --------
    >>> block_numbers((0, 1, 5))
    (0, 4)
    """
    return tuple(layer - 1 for layer in layers if layer)


def layer_names(layers: tuple[int, ...], schedule: Schedule | None = None) -> list[str]:
    """Return the names of states in a capture file: the block, or under a schedule the stage, that outputs the state.

    Examples
    --------
    >>> layer_names((0, 1, 5))
    ['embedding', 'block.0', 'block.4']
    >>> layer_names((0, 1, 2), Schedule([(7,), (2, 3)]))
    ['embedding', '7', '(2|3)']
    """

    def name(layer: int) -> str:
        return f"block.{layer}" if schedule is None else print_stage(schedule[layer])

    return ["embedding" if layer == 0 else name(layer - 1) for layer in layers]
