"""The Hilbert-Schmidt independence criterion of all pairs of layers, from their Gram or other kernel matrices.

The Gram matrices are never held whole: block by block of tokens, each layer's block is computed once and multiplied with every
other layer's. Sums are kept by groups of tokens, so that the criterion of any selection of groups costs next to nothing.

This module knows matrices; it knows no measure, no files, no labels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.centering import centered, ordinary_mean
from layerscope.measures.kernels.distances import Kernel, squared_distances

__all__ = ["Criterion", "GramSums", "biased_cka"]

_DIGITS_LOST = 1e4
"""Where a layer's own criterion is less than so many roundings of its sum of squares, float32 products do not do."""
_BLOCK_BYTES = 64_000_000
"""Of the kernel of some rows at all layers: with few rows at a time, reading the states takes longer than multiplying them."""


class Criterion(NamedTuple):
    """The criterion of all pairs of layers, and of each layer with itself, for each selection of groups."""

    cross: Float[np.ndarray, "selection layer layer_other"]
    own: Float[np.ndarray, "selection layer"]
    own_other: Float[np.ndarray, "selection layer_other"]

    def normalized(self) -> Float[np.ndarray, "selection layer layer_other"]:
        """Divide by the roots of the layers' own criteria."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: np.ndarray = self.cross / np.sqrt(self.own[:, :, None] * self.own_other[:, None, :])
        return ratio


@dataclass
class _Side:
    """One capture's states of some tokens, centred, sorted by group, each group padded with zeros to the same size.

    Each layer is divided by a power of two, which changes no digit: products of products must fit into float32.
    """

    states: Float[torch.Tensor, "layer row feature"]
    exponent: Int[torch.Tensor, " layer"]
    diagonal: Float[torch.Tensor, "layer row"]
    row_sums: Float[torch.Tensor, "layer row group"]

    @classmethod
    def arrange(
        cls,
        hidden: Float[torch.Tensor, "token layer feature"],
        place: Int[torch.Tensor, " token"],
        groups: int,
        room: int,
    ) -> "_Side":
        """Centre the states and put each token in its place of `groups` times `room` rows."""
        centre = ordinary_mean(hidden)
        states = torch.zeros(hidden.shape[1], groups * room, hidden.shape[2], dtype=hidden.dtype)
        exponent = torch.zeros(len(states), dtype=torch.int64)
        diagonal = torch.zeros(states.shape[:2], dtype=torch.float64)
        row_sums = torch.zeros(*states.shape[:2], groups, dtype=torch.float64)
        for layer, rows in enumerate(states):
            centred_rows = centered(hidden[:, layer : layer + 1], centre[layer : layer + 1])[:, 0]
            exponent[layer] = centred_rows.abs().max().frexp().exponent
            rows[place] = centred_rows.ldexp(-exponent[layer])
            exact = rows.double()
            diagonal[layer] = exact.square().sum(-1)
            row_sums[layer] = exact @ exact.view(groups, room, -1).sum(1).T
            row_sums[layer].view(groups, room, groups).diagonal(dim1=0, dim2=2).sub_(
                diagonal[layer].view(groups, room).T
            )
        return cls(states, exponent, diagonal, row_sums)

    def block(self, start: int, stop: int) -> Float[torch.Tensor, "layer row column"]:
        """Compute the products of rows `start` … `stop` with all rows from `start` on, a row with itself left out."""
        gram = torch.bmm(self.states[:, start:stop], self.states[:, start:].mT)
        gram[:, :, : stop - start].diagonal(dim1=1, dim2=2).zero_()
        return gram


@dataclass
class _KernelSide(_Side):
    """The same with a kernel of distances instead of products; the sums of rows are collected as blocks are computed."""

    kernel: Kernel
    real: Float[torch.Tensor, " row"]
    group: Int[torch.Tensor, " row"]

    @classmethod
    def of(cls, side: _Side, kernel: Kernel, place: Int[torch.Tensor, " token"]) -> "_KernelSide":
        """Take arranged states, and which rows hold a token: padding is at some distance too, and must not count."""
        layers, rows, groups = side.row_sums.shape
        real = torch.zeros(rows, dtype=torch.float64)
        real[place] = 1
        diagonal = kernel(torch.zeros(layers, rows, 1, dtype=torch.float64))[:, :, 0] * real
        group = torch.arange(groups).repeat_interleave(rows // groups)
        states = side.states.double().ldexp(side.exponent[:, None, None])
        exponent = torch.zeros_like(side.exponent)
        return cls(states, exponent, diagonal, torch.zeros_like(side.row_sums), kernel, real, group)

    def block(self, start: int, stop: int) -> Float[torch.Tensor, "layer row column"]:
        """Compute the kernel of rows `start` … `stop` with all rows from `start` on, a row with itself left out."""
        values = self.kernel(squared_distances(self.states[:, start:stop], self.states[:, start:]))
        values *= self.real[start:stop, None] * self.real[start:]
        height = stop - start
        values[:, :, :height].diagonal(dim1=1, dim2=2).zero_()
        self.row_sums[:, start:stop].index_add_(2, self.group[start:], values)
        self.row_sums[:, stop:, self.group[start]] += values[:, :, height:].sum(1)
        return values


class GramSums:
    r"""Sums of products of the Gram matrices of all pairs of layers, their diagonals left out, by groups of tokens.

    Parameters
    ----------
    hidden, hidden_other
        The states; `hidden_other` None for one capture against itself. They are centred here: the criterion does not change,
        and large means cost no digits.
    group
        The group of each token, 0 … `groups` - 1.
    groups
        How many there are.
    kernel, kernel_other
        To be used instead of the inner product.
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

        With K and L the Gram or kernel matrices of n tokens: debiased, the estimator HSIC_1 of Song et al. 2012 (eq. 5); else
        $\mathrm{tr}(KHLH)$ with H the centring matrix, which for linear kernels is $\|Y_c'X_c\|_F^2$.

        Parameters
        ----------
        masks
            Rows of zeros and ones: which groups to take.
        debiased
            Which of the two. The debiased one is NaN for fewer than four tokens.
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
            found = self._criterion(chosen[index], float(count[index]), [trace[index] for trace in traces], debiased)
            for result, values in zip(results, found, strict=True):
                result[index] = values.numpy()
        powers = [2 * side.exponent.numpy() for side in (self.first, self.second)]
        scales = (powers[0][:, None] + powers[1], 2 * powers[0], 2 * powers[1])
        return Criterion(*(np.ldexp(result, scale) for result, scale in zip(results, scales, strict=True)))

    def _ill_conditioned(self) -> bool:
        """Say whether little but rounding is left of a layer's own criterion where products are float32."""
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
        rows = mask.repeat_interleave(self.room) > 0
        sides = [self.first] if self.second is self.first else [self.first, self.second]
        sums = [(side.row_sums[:, rows] @ mask) for side in sides]
        if not debiased:
            diagonals = [side.diagonal[:, rows] for side in sides]
            sums = [part + diagonal for part, diagonal in zip(sums, diagonals, strict=True)]
            left, right = diagonals[0], diagonals[-1]
            traces = [
                traces[0] + left @ right.T,
                traces[1] + left.square().sum(-1),
                traces[2] + right.square().sum(-1),
            ]
        left, right = sums[0], sums[-1]
        totals = (left.sum(-1), right.sum(-1))
        inner = (left @ right.T, left.square().sum(-1), right.square().sum(-1))
        outer = (totals[0][:, None] * totals[1], totals[0].square(), totals[1].square())
        if not debiased:
            found = [t - 2 / count * i + o / count**2 for t, i, o in zip(traces, inner, outer, strict=True)]
        else:
            found = [
                (t + o / ((count - 1) * (count - 2)) - 2 / (count - 2) * i) / (count * (count - 3))
                for t, i, o in zip(traces, inner, outer, strict=True)
            ]
            # Where all tokens are equally alike, nothing but rounding is left: that is zero, not a direction.
            noise = 100 * torch.finfo(self.first.states.dtype).eps / (count * (count - 3))
            found[1:] = [own.where(own > noise * trace, 0.0) for own, trace in zip(found[1:], traces[1:], strict=True)]
        return found[0], found[1], found[2]

    def _arranged(
        self,
        hidden: Float[torch.Tensor, "token layer feature"],
        place: Int[torch.Tensor, " token"],
        kernel: Kernel | None,
    ) -> _Side:
        side = _Side.arrange(hidden, place, self.groups, self.room)
        return side if kernel is None else _KernelSide.of(side, kernel, place)

    def _multiply(self) -> None:
        """Go through the upper triangle of blocks of token pairs."""
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
        """Multiply the layers' blocks; the columns are whole groups, or a part of one."""
        width = len(range(self.groups)[columns])
        strips = [
            gram.reshape(gram.shape[0], gram.shape[1] * width, gram.shape[2] // width).transpose(0, 1)
            for gram in blocks
        ]
        left, right = strips[0], strips[-1]
        found = [self._by_group(torch.bmm(left, right.mT), width)]
        if len(strips) == 1:
            own = found[0].diagonal(dim1=1, dim2=2)
            found += [own, own]
        else:
            found += [self._by_group(strip.square().sum(-1), width) for strip in strips]
        for sums, values in zip((self.products, self.squares, self.squares_other), found, strict=True):
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
        Rows of zeros and ones: the groups of each selection.

    Examples
    --------
    >>> states = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[2.0, 2.0]]])
    >>> biased_cka([states], np.zeros(3, np.int64), np.ones((1, 1))).round(6)
    array([[[1.]]])
    """
    sums = GramSums(states[0], states[1] if len(states) > 1 else None, group, masks.shape[1])
    return sums.criterion(masks, debiased=False).normalized()
