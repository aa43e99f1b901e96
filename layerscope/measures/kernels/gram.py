"""Compute the Hilbert-Schmidt independence criterion of all pairs of layers, from their Gram or other kernel matrices.

A complete Gram matrix is never in memory: for each block of tokens, each layer's block is computed once and multiplied with
every other layer's. Sums are kept for each group of tokens, so the criterion of any selection of groups is cheap.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.distances import Kernel
from layerscope.measures.kernels.gram_blocks import GramBlocks, KernelBlocks
from layerscope.measures.kernels.hsic import Criterion, GramTotals, biased_hsic, debiased_hsic

__all__ = ["GramSums", "biased_cka"]

_DIGITS_LOST = 1e4
"""A layer's own criterion below this number of rounding errors of its sum of squares needs float64 products."""
_BLOCK_BYTES = 64_000_000
"""Size of a block of rows at all layers. In smaller blocks, reading the states takes longer than multiplying them."""


class GramSums:
    r"""Sums of products of the Gram matrices of all pairs of layers without their diagonals, for each pair of token groups.

    Parameters
    ----------
    hidden, hidden_other
        The states; `hidden_other` is None for one capture against itself. They are centred here, which does not change the
        criterion and keeps the digits that large means would cost.
    group
        The group of each token, 0 … `groups` - 1.
    groups
        Number of groups.
    kernel, kernel_other
        Kernels to use instead of the inner product.
    """

    def __init__(
        self,
        hidden: Float[torch.Tensor, "token layer feature"],
        hidden_other: Float[torch.Tensor, "token layer_other width"] | None = None,
        group: Int[np.ndarray, " token"] | None = None,
        groups: int = 1,
        *,
        kernel: Kernel | None = None,
        kernel_other: Kernel | None = None,
    ) -> None:
        group = np.zeros(len(hidden), np.int64) if group is None else group
        self.count = np.bincount(group, minlength=groups).astype(np.float64)
        room = int(self.count.max())
        order = np.argsort(group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.count)[:-1]]).astype(np.int64)
        place = np.empty(len(group), np.int64)
        place[order] = np.arange(len(group)) - starts[group[order]] + group[order] * room
        places = torch.from_numpy(place)
        self.groups, self.room = groups, room
        self.first = self._arranged(hidden, places, kernel)
        self.second = self.first if hidden_other is None else self._arranged(hidden_other, places, kernel_other)
        self._multiply()
        if self._ill_conditioned():
            for side in {id(side): side for side in (self.first, self.second)}.values():
                side.states = side.states.double()
            self._multiply()

    def criterion(self, masks: Float[np.ndarray, "selection group"], *, debiased: bool) -> Criterion:
        r"""Compute the criterion of the tokens of some groups.

        With K and L the Gram or kernel matrices of n tokens, the debiased criterion is HSIC_1 of Song et al. 2012 (eq. 5). The
        biased one is $\mathrm{tr}(KHLH)$ with H the centring matrix, which for linear kernels is $\|Y_c'X_c\|_F^2$.

        Parameters
        ----------
        masks
            Rows of zeros and ones that select groups.
        debiased
            Whether to compute the debiased criterion, which is NaN for fewer than four tokens.
        """
        chosen = torch.from_numpy(masks)
        count = chosen @ torch.from_numpy(self.count)
        selections, groups = chosen.shape
        pairs = (chosen[:, :, None] * chosen[:, None, :]).view(selections, groups * groups)
        traces = [
            (pairs @ sums.view(groups * groups, -1)).view(selections, *sums.shape[2:])
            for sums in (self.products, self.squares, self.squares_other)
        ]
        results = [np.empty(tuple(trace.shape)) for trace in traces]
        for index in range(selections):
            if debiased and count[index] < 4:
                for result in results:
                    result[index] = np.nan
                continue
            criteria = self._criterion(chosen[index], float(count[index]), [trace[index] for trace in traces], debiased)
            for result, values in zip(results, criteria, strict=True):
                result[index] = values.numpy()
        powers = [2 * side.exponent.numpy() for side in (self.first, self.second)]
        scales = (powers[0][:, None] + powers[1], 2 * powers[0], 2 * powers[1])
        return Criterion(*(np.ldexp(result, scale) for result, scale in zip(results, scales, strict=True)))

    def _ill_conditioned(self) -> bool:
        """Return whether rounding dominates a layer's own criterion because products are float32."""
        count = float(self.count.sum())
        if self.first.states.dtype == torch.float64 or count < 4:
            return False
        traces = [sums.sum((0, 1)) for sums in (self.products, self.squares, self.squares_other)]
        own = self._criterion(torch.ones(self.groups, dtype=torch.float64), count, traces, True)[1:]
        floor = _DIGITS_LOST * torch.finfo(torch.float32).eps / (count * (count - 3))
        return any(bool((part <= floor * trace).any()) for part, trace in zip(own, traces[1:], strict=True))

    def _criterion(
        self, mask: Float[torch.Tensor, " group"], count: float, traces: list[torch.Tensor], debiased: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the criterion of one selection, from the sums of rows and the traces of products without diagonals."""
        rows = mask.repeat_interleave(self.room) > 0
        sides = [self.first] if self.second is self.first else [self.first, self.second]
        sums = [(side.row_sums[:, rows] @ mask) for side in sides]
        if debiased:
            return debiased_hsic(GramTotals.of(traces, sums), count, torch.finfo(self.first.states.dtype).eps)
        diagonals = [side.diagonal[:, rows] for side in sides]
        sums = [part + diagonal for part, diagonal in zip(sums, diagonals, strict=True)]
        left, right = diagonals[0], diagonals[-1]
        traces = [
            traces[0] + left @ right.T,
            traces[1] + left.square().sum(-1),
            traces[2] + right.square().sum(-1),
        ]
        return biased_hsic(GramTotals.of(traces, sums), count)

    def _arranged(
        self,
        hidden: Float[torch.Tensor, "token layer feature"],
        place: Int[torch.Tensor, " token"],
        kernel: Kernel | None,
    ) -> GramBlocks:
        side = GramBlocks.arrange(hidden, place, self.groups, self.room)
        return side if kernel is None else KernelBlocks.of(side, kernel, place)

    def _multiply(self) -> None:
        """Compute all sums from the upper triangle of blocks of token pairs."""
        first, second = len(self.first.states), len(self.second.states)
        shapes = (first, second), (first,), (second,)
        self.products, self.squares, self.squares_other = (
            torch.zeros(self.groups, self.groups, *shape, dtype=torch.float64) for shape in shapes
        )
        layers = max(first, second)
        rows = len(self.first.states[0])
        block = max(8, _BLOCK_BYTES // (layers * rows * self.first.states.element_size()))
        for group in range(self.groups):
            end = (group + 1) * self.room
            for start in range(group * self.room, end, block):
                self._multiply_block(group, start, min(start + block, end))

    def _multiply_block(self, group: int, start: int, stop: int) -> None:
        """Add the products of tokens `start` … `stop` of a group with all tokens from `start` on."""
        sides = [self.first] if self.second is self.first else [self.first, self.second]
        blocks = [side.block(start, stop) for side in sides]
        height, end = stop - start, (group + 1) * self.room - start
        self._add(group, slice(group, group + 1), [gram[:, :, :height] for gram in blocks], 1)
        if end > height:
            self._add(group, slice(group, group + 1), [gram[:, :, height:end] for gram in blocks], 2)
        if group + 1 < self.groups:
            self._add(group, slice(group + 1, None), [gram[:, :, end:] for gram in blocks], 1)

    def _add(self, group: int, columns: slice, blocks: list[torch.Tensor], times: int) -> None:
        """Multiply the blocks of all pairs of layers, whose columns are complete groups or a part of one, into the sums."""
        width = len(range(self.groups)[columns])
        strips = [
            gram.reshape(gram.shape[0], gram.shape[1] * width, gram.shape[2] // width).transpose(0, 1)
            for gram in blocks
        ]
        left, right = strips[0], strips[-1]
        parts = [self._by_group(torch.bmm(left, right.mT), width)]
        if len(strips) == 1:
            own = parts[0].diagonal(dim1=1, dim2=2)
            parts += [own, own]
        else:
            parts += [self._by_group(strip.square().sum(-1), width) for strip in strips]
        for sums, values in zip((self.products, self.squares, self.squares_other), parts, strict=True):
            sums[group, columns] += values * times
            if columns.start != group:
                sums[columns, group] += values * times

    def _by_group(self, values: torch.Tensor, width: int) -> torch.Tensor:
        return values.view(-1, width, *values.shape[1:]).sum(0, dtype=torch.float64)


def biased_cka(
    states: list[Float[torch.Tensor, "token _layer _feature"]],
    group: Int[np.ndarray, " token"],
    masks: Float[np.ndarray, "selection group"],
) -> Float[np.ndarray, "selection layer layer_other"]:
    """Compute biased linear CKA of all pairs of layers, on each selection of groups of tokens.

    Parameters
    ----------
    states
        The states of each capture.
    group
        The group of each token.
    masks
        Rows of zeros and ones that select groups.

    Examples
    --------
    >>> states = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[2.0, 2.0]]])
    >>> biased_cka([states], np.zeros(3, np.int64), np.ones((1, 1))).round(6)
    array([[[1.]]])
    """
    sums = GramSums(states[0], states[1] if len(states) > 1 else None, group, masks.shape[1])
    return sums.criterion(masks, debiased=False).normalized()
