"""Sums over tokens of the products of all pairs of layers, kept per sequence.

For a token t, the matrix X_t X_t' (layer by layer) is all that cosines and norms need. Divided by the roots of its diagonal,
it gives the token's cosines. Summed over a sequence, it gives the cosine of the flattened sequence. The sums of each sequence
are small, so a bootstrap over sequences is exact and nearly free.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.measures.kernels.lengths import out_of_scale

__all__ = ["PairSums", "TokenProducts"]


class TokenProducts(NamedTuple):
    """The products of all pairs of layers, token by token; valid until the next update.

    Attributes
    ----------
    dots
        Inner products of the states.
    squares, squares_other
        Squared norms of the states in each capture.
    """

    dots: Float[torch.Tensor, "token layer layer_other"]
    squares: Float[torch.Tensor, "token layer"]
    squares_other: Float[torch.Tensor, "token layer_other"]


class PairSums:
    """Per-sequence sums of cosines, dot products and norms.

    A token with an all-zero state has no direction. It is left out of all cosines, and counted in `zero`.

    Parameters
    ----------
    layers, layers_other
        Number of states of a token in each capture; `layers_other` is None for one capture against itself.
    dtype
        Type of the products. The sums, and the products of tokens whose squares would leave the range of the type, are float64.
    sequences
        Number of sequences to allocate; more are added as needed.
    whole
        Whether to keep the dot products of whole sequences in addition to the cosines.

    Attributes
    ----------
    sums
        Float64 sums by sequence: number of ``tokens`` ``[sequence, 2]``, ``count`` of those with cosines, ``cosine``
        ``[sequence, layer, layer_other]``, ``norm`` and ``norm_other`` ``[sequence, layer]``; of whole sequences ``dots``,
        ``squares`` and ``squares_other`` ``[sequence, 2, …]``. In an axis of size 2, index 1 is position 0 of the sequence and
        index 0 all other positions.
    zero
        Number of tokens with an all-zero state, for each layer of the first capture, then of the other.
    """

    def __init__(
        self, layers: int, layers_other: int | None, dtype: torch.dtype, *, sequences: int = 1, whole: bool = True
    ) -> None:
        self.alone = layers_other is None
        self.dtype = dtype
        self.whole = whole
        other = layers if layers_other is None else layers_other
        shapes: dict[str, tuple[int, ...]] = {"tokens": (2,), "count": (), "cosine": (layers, other), "norm": (layers,)}
        if whole:
            shapes |= {"dots": (2, layers, other), "squares": (2, layers)}
        if not self.alone:
            shapes |= {"norm_other": (other,), **({"squares_other": (2, other)} if whole else {})}
        self.sums = {
            name: torch.zeros(max(sequences, 1), *shape, dtype=torch.float64) for name, shape in shapes.items()
        }
        self.zero = torch.zeros(layers + other, dtype=torch.int64)
        self._buffers: dict[tuple[str, torch.Size], torch.Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Number of bytes of the sums."""
        return sum(total.nbytes for total in self.sums.values())

    def update(
        self,
        hidden: Float[torch.Tensor, "token layer feature"],
        hidden_other: Float[torch.Tensor, "token layer_other feature"] | None,
        slot: Int[np.ndarray, " token"],
        at_start: Bool[np.ndarray, " token"],
    ) -> TokenProducts:
        """Add some tokens: their states, the number of each token's sequence, and whether the token is at position 0."""
        self._grow(int(slot.max(initial=-1)) + 1)
        products = self._multiply(hidden, hidden_other)
        index = torch.from_numpy(slot)
        wide = self._buffer("wide", products.dots.shape, torch.float64).copy_(products.dots)
        squares, squares_other = products.squares.double(), products.squares_other.double()
        extreme = (out_of_scale(products.squares).any(1) | out_of_scale(products.squares_other).any(1)).nonzero()[:, 0]
        if len(extreme):
            left = hidden[extreme].double()
            right = left if hidden_other is None else hidden_other[extreme].double()
            wide[extreme] = torch.bmm(left, right.mT)
            squares[extreme], squares_other[extreme] = left.square().sum(-1), right.square().sum(-1)
            products = TokenProducts(wide.clone(), squares, squares_other)
        twofold = torch.from_numpy(slot * 2 + at_start)
        self._add("tokens", twofold, torch.ones(len(index), dtype=torch.float64))
        if self.whole:
            self._add("dots", twofold, wide)
            self._add("squares", twofold, squares)
            if not self.alone:
                self._add("squares_other", twofold, squares_other)
        usable = (squares > 0).all(1) & (squares_other > 0).all(1)
        scale, scale_other = squares.rsqrt(), squares_other.rsqrt()
        if not usable.all():
            scale, scale_other = scale.where(usable[:, None], 0), scale_other.where(usable[:, None], 0)
            self.zero += torch.cat([(squares == 0).sum(0), (squares_other == 0).sum(0)])
        self._add("cosine", index, wide.mul_(scale[:, :, None]).mul_(scale_other[:, None, :]))
        self._add("count", index, usable.double())
        self._add("norm", index, squares.sqrt())
        if not self.alone:
            self._add("norm_other", index, squares_other.sqrt())
        return products

    def merge(self, part: "PairSums") -> None:
        """Add the sums of another accumulator."""
        sequences = len(part.sums["count"])
        self._grow(sequences)
        for name, total in self.sums.items():
            total[:sequences] += part.sums[name]
        self.zero += part.zero

    def empty_like(self) -> "PairSums":
        """Make empty sums of the same kind."""
        room, layers, other = self.sums["cosine"].shape
        return PairSums(layers, None if self.alone else other, self.dtype, sequences=room, whole=self.whole)

    def _multiply(
        self,
        hidden: Float[torch.Tensor, "token layer feature"],
        hidden_other: Float[torch.Tensor, "token layer_other feature"] | None,
    ) -> TokenProducts:
        right = hidden if hidden_other is None else hidden_other
        shape = torch.Size((len(hidden), hidden.shape[1], right.shape[1]))
        dots = torch.bmm(hidden, right.mT, out=self._buffer("dots", shape, self.dtype))
        if hidden_other is None:
            squares = dots.diagonal(dim1=1, dim2=2).clone()
            return TokenProducts(dots, squares, squares)
        return TokenProducts(dots, hidden.square().sum(-1), right.square().sum(-1))

    def _add(self, name: str, index: torch.Tensor, values: torch.Tensor) -> None:
        total = self.sums[name]
        total.view(-1, *values.shape[1:]).index_add_(0, index, values)

    def _grow(self, sequences: int) -> None:
        room = len(self.sums["count"])
        if sequences <= room:
            return
        for name, total in self.sums.items():
            grown = torch.zeros(max(sequences, 2 * room), *total.shape[1:], dtype=torch.float64)
            grown[:room] = total
            self.sums[name] = grown

    def _buffer(self, name: str, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        key = (name, shape)
        if key not in self._buffers:
            # Only one shape is in use at a time, so the buffer of another shape can be dropped.
            self._buffers = {known: buffer for known, buffer in self._buffers.items() if known[0] != name}
            self._buffers[key] = torch.empty(shape, dtype=dtype)
        return self._buffers[key]
