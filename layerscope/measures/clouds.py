"""The centred states of held rows, one matrix a layer, in whichever space is smaller.

With fewer tokens than features a cloud is turned (by a QR decomposition) into as many coordinates as it has tokens: all inner
products between tokens stay what they are. This module knows matrices only.
"""

import torch
from jaxtyping import Float

from layerscope.measures.layer_moments import centred

__all__ = ["Cloud"]

_AT_ONCE = 1024


class Cloud:
    """The centred states of some tokens at one layer.

    Parameters
    ----------
    states
        Of one layer; centred here.
    """

    def __init__(self, states: Float[torch.Tensor, "token feature"]) -> None:
        mean = states.sum(0, dtype=torch.float64)[None] / len(states)
        self.points = centred(states[:, None], mean)[:, 0]
        self._turned: torch.Tensor | None = None

    @property
    def size(self) -> float:
        """The squared Frobenius norm."""
        return float(self.points.double().square().sum())

    def covariance(self) -> Float[torch.Tensor, "n n"]:
        """Return the sums of products of features, or of tokens where these are fewer: the same eigenvalues."""
        tokens, features = self.points.shape
        return _products(self.points, self.points) if features <= tokens else _products(self.points.T, self.points.T)

    def cross(self, other: "Cloud") -> Float[torch.Tensor, "n m"]:
        """Return a matrix of the singular values of the sums of products of this cloud's and the other's features."""
        tokens, features = self.points.shape
        if tokens < min(features, other.points.shape[1]):
            return self._coordinates() @ other._coordinates().T
        return _products(self.points, other.points)

    def _coordinates(self) -> Float[torch.Tensor, "token token"]:
        """Return R of the QR decomposition of the transposed points, which are R' Q'."""
        if self._turned is None:
            self._turned = torch.linalg.qr(self.points.double().T, mode="r").R
        return self._turned


def _products(left: Float[torch.Tensor, "row n"], right: Float[torch.Tensor, "row m"]) -> Float[torch.Tensor, "n m"]:
    """Multiply in the points' type, add up in float64."""
    total = torch.zeros(left.shape[1], right.shape[1], dtype=torch.float64)
    for start in range(0, len(left), _AT_ONCE):
        total += left[start : start + _AT_ONCE].T @ right[start : start + _AT_ONCE]
    return total
