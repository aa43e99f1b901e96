"""Sums of products of features: the covariance of each layer, and the cross-covariances of all pairs of layers.

Parts are merged by the formula of Chan, Golub and LeVeque. For products it is the sum of both parts' products about their own
means, and the product of one more row: the difference of the means times sqrt(n m / (n + m)).
"""

import torch
from jaxtyping import Float

__all__ = ["CrossCovariance"]

_AT_ONCE = 1024
"""Number of rows multiplied at once: enough that adding up the products is cheap in comparison."""


class CrossCovariance:
    """Sums over tokens of products of centred features.

    Parameters
    ----------
    layers, width
        Number of layers and features of a token's states, for each capture. Products and sums are float64, because singular
        values and small eigenvalues collect the rounding of all products.
    pairs
        Whether to sum the products of different layers too; else only those within each layer.
    """

    def __init__(self, layers: list[int], width: list[int], *, pairs: bool) -> None:
        self.layers, self.width, self.pairs = layers, width, pairs
        self.count = 0
        self.mean = [torch.zeros(n, p, dtype=torch.float64) for n, p in zip(layers, width, strict=True)]
        self._alone = len(layers) == 1
        # One capture: row l has the products of layer l with itself and all later layers; its first block is the covariance.
        self._own = (
            []
            if pairs and self._alone
            else [torch.zeros(n, p, p, dtype=torch.float64) for n, p in zip(layers, width, strict=True)]
        )
        self._cross: list[torch.Tensor] = []
        if pairs:
            widths = [
                (layers[0] - layer) * width[0] if self._alone else layers[1] * width[1] for layer in range(layers[0])
            ]
            self._cross = [torch.zeros(width[0], each, dtype=torch.float64) for each in widths]
        self._waiting: list[list[torch.Tensor]] = []
        self._rows = 0

    @staticmethod
    def bytes_needed(layers: list[int], width: list[int], *, pairs: bool) -> int:
        """Return the number of bytes of the sums."""
        own = sum(n * p * p for n, p in zip(layers, width, strict=True))
        if not pairs:
            return 8 * own
        if len(layers) == 1:
            return 4 * layers[0] * (layers[0] + 1) * width[0] ** 2
        return 8 * (own + layers[0] * layers[1] * width[0] * width[1])

    def update(self, states: list[Float[torch.Tensor, "token _layer _feature"]]) -> None:
        """Add the states of some tokens in each capture."""
        self._waiting.append([hidden.clone() for hidden in states])
        self._rows += len(states[0])
        if self._rows >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Multiply the rows collected since the last call."""
        if not self._rows:
            return
        rows = [torch.cat(parts).double() for parts in zip(*self._waiting, strict=True)]
        self._waiting, self._rows = [], 0
        mean = [hidden.mean(0) for hidden in rows]
        deviation = [hidden - middle for hidden, middle in zip(rows, mean, strict=True)]
        self._add(deviation, len(rows[0]), mean)

    def merge(self, part: "CrossCovariance") -> None:
        """Add the sums of another accumulator."""
        part.flush()
        self.flush()
        if not part.count:
            return
        for sums, more in zip([*self._own, *self._cross], [*part._own, *part._cross], strict=True):
            sums += more
        self._add([mean.new_zeros(0, *mean.shape) for mean in part.mean], part.count, part.mean)

    def empty_like(self) -> "CrossCovariance":
        """Make empty sums of the same kind."""
        return CrossCovariance(self.layers, self.width, pairs=self.pairs)

    def within(self, layer: int, side: int = 0) -> Float[torch.Tensor, "feature feature"]:
        """Return the sums of products of a layer with itself."""
        return self._own[side][layer] if self._own else self._cross[layer][:, : self.width[0]]

    def between(self, layer: int, other: int) -> Float[torch.Tensor, "feature feature_other"]:
        """Return the sums of products of two layers. For one capture, `other` must not be less than `layer`."""
        width = self.width[-1]
        first = other - layer if self._alone else other
        return self._cross[layer][:, first * width : (first + 1) * width]

    def _add(
        self,
        deviation: list[Float[torch.Tensor, "token _layer _feature"]],
        count: int,
        mean: list[Float[torch.Tensor, "_layer _feature"]],
    ) -> None:
        """Add the products of rows about their own mean, and of the row that accounts for the shift of the mean."""
        total = self.count + count
        shift = [new - old for new, old in zip(mean, self.mean, strict=True)]
        factor = (self.count * count / total) ** 0.5
        rows = [torch.cat([d, (s * factor)[None]]) for d, s in zip(deviation, shift, strict=True)]
        for middle, move in zip(self.mean, shift, strict=True):
            middle += move * (count / total)
        self.count = total
        for sums, part in zip(self._own, rows, strict=False):
            for layer in range(len(sums)):
                sums[layer] += part[:, layer].T @ part[:, layer]
        for layer, sums in enumerate(self._cross):
            right = rows[0][:, layer:] if self._alone else rows[1]
            sums += rows[0][:, layer].T @ right.reshape(len(right), -1)
