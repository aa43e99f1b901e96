"""Centred states of one capture, arranged by groups of tokens, and blocks of their Gram or kernel matrices.

`layerscope.measures.kernels.gram` multiplies these blocks layer by layer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.centering import centered, ordinary_mean
from layerscope.measures.kernels.distances import Kernel, squared_distances

__all__ = ["GramBlocks", "KernelBlocks"]


@dataclass
class GramBlocks:
    """Centred states of one capture, sorted by group, each group padded with zeros to the same size.

    Each layer is divided by a power of two, which is exact and makes products of products fit into float32.
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
    ) -> "GramBlocks":
        """Centre the states and copy each token to its row, `place`, of `groups` times `room` rows."""
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
        """Compute the products of rows `start` … `stop` with all rows from `start` on; a row's product with itself is 0."""
        gram = torch.bmm(self.states[:, start:stop], self.states[:, start:].mT)
        gram[:, :, : stop - start].diagonal(dim1=1, dim2=2).zero_()
        return gram


@dataclass
class KernelBlocks(GramBlocks):
    """Blocks of a kernel matrix of distances. `block` also adds to the row sums."""

    kernel: Kernel
    real: Float[torch.Tensor, " row"]
    group: Int[torch.Tensor, " row"]

    @classmethod
    def of(cls, side: GramBlocks, kernel: Kernel, place: Int[torch.Tensor, " token"]) -> "KernelBlocks":
        """Make kernel blocks of arranged states. Only the rows in `place` are tokens; the kernel of padding is set to 0."""
        layers, rows, groups = side.row_sums.shape
        real = torch.zeros(rows, dtype=torch.float64)
        real[place] = 1
        diagonal = kernel(torch.zeros(layers, rows, 1, dtype=torch.float64))[:, :, 0] * real
        group = torch.arange(groups).repeat_interleave(rows // groups)
        states = side.states.double().ldexp(side.exponent[:, None, None])
        exponent = torch.zeros_like(side.exponent)
        return cls(states, exponent, diagonal, torch.zeros_like(side.row_sums), kernel, real, group)

    def block(self, start: int, stop: int) -> Float[torch.Tensor, "layer row column"]:
        """Compute the kernel of rows `start` … `stop` with all rows from `start` on; that of a row with itself is 0."""
        values = self.kernel(squared_distances(self.states[:, start:stop], self.states[:, start:]))
        values *= self.real[start:stop, None] * self.real[start:]
        height = stop - start
        values[:, :, :height].diagonal(dim1=1, dim2=2).zero_()
        self.row_sums[:, start:stop].index_add_(2, self.group[start:], values)
        self.row_sums[:, stop:, self.group[start]] += values[:, :, height:].sum(1)
        return values
