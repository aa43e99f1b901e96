"""Describe what a row of a capture file consists of, and forecast the size of the file."""

import json
from dataclasses import dataclass

import torch

from layerscope.store.schema import CHAR_END, CHAR_START, FINAL_NORM, HIDDEN, INDEX_DTYPES, TEXT_HASH
from layerscope.store.space import forecast_bytes
from layerscope.stream_names import STREAMS

__all__ = ["CaptureLayout", "Setting", "stored_metadata"]

_TOKEN_STRING_BYTES = 48  # a reference, and its string in a heap with its header

Setting = str | int | float | bool | None


def stored_metadata(settings: str) -> tuple[str, ...]:
    """Return the names of the metadata of a capture, from its settings as JSON.

    Examples
    --------
    >>> stored_metadata('{"metadata": "author,year"}'), stored_metadata("{}")
    (('author', 'year'), ())
    """
    names = json.loads(settings).get("metadata")
    return tuple(names.split(",")) if names else ()


@dataclass(frozen=True)
class CaptureLayout:
    """What a row of a capture consists of.

    Attributes
    ----------
    layer
        The numbers of the stored states; none if the residual stream is not stored.
    layer_name
        Their names: ``embedding``, ``block.0``, …; under a schedule ``embedding``, then the stages as written.
    width
        Number of features of a state.
    store_dtype
        The storage type: float32, float16 or bfloat16.
    final_norm
        Whether the output of the final norm is stored.
    spans
        Whether the character range of each token is stored.
    streams
        The stored streams.
    token_strings
        Whether the name of each token is stored.
    block, block_name
        Numbers and names of the blocks of which ``attn_out`` or ``mlp_out`` is stored.

    Examples
    --------
    >>> layout = CaptureLayout(layer=(0, 1), layer_name=("embedding", "block.0"), width=512, store_dtype=torch.bfloat16)
    >>> layout.forecast_bytes(tokens=1000, sequences=10)
    2180136
    """

    layer: tuple[int, ...]
    layer_name: tuple[str, ...]
    width: int
    store_dtype: torch.dtype
    final_norm: bool = False
    spans: bool = False
    streams: tuple[str, ...] = ("resid",)
    block: tuple[int, ...] = ()
    block_name: tuple[str, ...] = ()
    token_strings: bool = False

    def __post_init__(self) -> None:
        counts = [(len(self.layer), len(self.layer_name)), (len(self.block), len(self.block_name))]
        held = any(map(len, self.variables.values()))
        if any(numbers != names for numbers, names in counts) or not held or self.width < 1:
            raise ValueError(f"layers and blocks, and their names: {counts}, of {self.streams}; width {self.width}")

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """The variables of states that are stored, and what each has for a token, as named in messages."""
        of_blocks = [STREAMS[stream] for stream in self.streams if stream != "resid"]
        return {
            **({HIDDEN: self.display_names} if "resid" in self.streams else {}),
            **{variable: tuple(f"{name} ({variable})" for name in self.block_name) for variable in of_blocks},
            **({FINAL_NORM: (FINAL_NORM,)} if self.final_norm else {}),
        }

    @property
    def in_order(self) -> list[tuple[str, int, str]]:
        """Each state of a token in the order in which a model computes them: its variable, its place there, and its name."""
        numbers = {STREAMS[stream]: self.axis(stream)[0] for stream in self.streams}
        order = {STREAMS[stream]: place for place, stream in enumerate(("attn", "mlp", "resid"))}
        of_blocks = sorted(
            (number - (variable == HIDDEN), order[variable], variable, index, name)
            for variable, of in numbers.items()
            for index, (number, name) in enumerate(zip(of, self.variables[variable], strict=True))
        )
        return [(variable, index, name) for _, _, variable, index, name in of_blocks] + (
            [(FINAL_NORM, 0, FINAL_NORM)] if self.final_norm else []
        )

    def axis(self, stream: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the numbers and names of the states of a stream, or of its blocks."""
        return (self.layer, self.layer_name) if stream == "resid" else (self.block, self.block_name)

    @property
    def display_names(self) -> tuple[str, ...]:
        """The layers as named in messages; a stage may occur many times in a schedule, so its number is included."""
        named = zip(self.layer, self.layer_name, strict=True)
        return tuple(name if name[0].isalpha() else f"{layer}, after stage {name}" for layer, name in named)

    def forecast_bytes(self, tokens: int, sequences: int) -> int:
        """Return the size in bytes of a file with this number of rows and sequences."""
        held = sum(map(len, self.variables.values())) - self.final_norm
        states = forecast_bytes(
            tokens, held, self.width, self.store_dtype, final_norm=self.final_norm, sequences=sequences
        )
        return (
            states
            + tokens * _TOKEN_STRING_BYTES * self.token_strings
            + sum(
                INDEX_DTYPES[name].itemsize * count
                for name, count in ((CHAR_START, tokens), (CHAR_END, tokens), (TEXT_HASH, sequences))
                if self.spans
            )
        )
