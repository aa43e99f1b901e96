"""Describe what a row of a capture file consists of, and forecast the size of the file."""

from dataclasses import dataclass

import torch

from layerscope.store.schema import CHAR_END, CHAR_START, INDEX_DTYPES, TEXT_HASH
from layerscope.store.space import forecast_bytes

__all__ = ["CaptureLayout", "Setting"]

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class CaptureLayout:
    """What a row of a capture consists of.

    Attributes
    ----------
    layer
        The numbers of the stored states.
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

    def __post_init__(self) -> None:
        if len(self.layer) != len(self.layer_name) or not self.layer or self.width < 1:
            raise ValueError(f"{len(self.layer)} layers, {len(self.layer_name)} names, width {self.width}")

    @property
    def display_names(self) -> tuple[str, ...]:
        """The layers as named in messages; a stage may occur many times in a schedule, so its number is included."""
        named = zip(self.layer, self.layer_name, strict=True)
        return tuple(name if name[0].isalpha() else f"{layer}, after stage {name}" for layer, name in named)

    def forecast_bytes(self, tokens: int, sequences: int) -> int:
        """Return the size in bytes of a file with this number of rows and sequences."""
        states = forecast_bytes(
            tokens, len(self.layer), self.width, self.store_dtype, final_norm=self.final_norm, sequences=sequences
        )
        return states + sum(
            INDEX_DTYPES[name].itemsize * count
            for name, count in ((CHAR_START, tokens), (CHAR_END, tokens), (TEXT_HASH, sequences))
            if self.spans
        )
