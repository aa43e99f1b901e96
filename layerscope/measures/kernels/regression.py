"""Linear regression of one layer on another, fitted to some texts and tested on others."""

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.canonical import OrthonormalBasis
from layerscope.measures.kernels.priority import row_priority

__all__ = ["FoldFit", "deal_folds", "squared_size"]

Layer = Float[torch.Tensor, "token feature"]


def deal_folds(sequence: Int[np.ndarray, " token"], folds: int) -> Int[np.ndarray, " token"]:
    """Deal complete sequences into folds, in the order of a hash of their numbers; return the fold of each token.

    Examples
    --------
    >>> deal_folds(np.array([0, 0, 1, 2, 2, 3]), 2)
    array([0, 0, 1, 1, 1, 0])
    """
    present, slot = np.unique(sequence, return_inverse=True)
    fold = np.empty(len(present), np.int64)
    fold[np.argsort(row_priority(np.arange(len(present)), 0), kind="stable")] = np.arange(len(present)) % folds
    dealt: np.ndarray = fold[slot]
    return dealt


def squared_size(states: Layer) -> float:
    """Return the squared Frobenius norm in float64."""
    return float(states.double().square().sum())


class FoldFit:
    """One layer's training tokens as an orthonormal basis, and its test tokens in that basis.

    Attributes
    ----------
    before, after
        The training and the test tokens minus the mean of the training tokens.
    """

    def __init__(self, basis: OrthonormalBasis, before: Layer, after: Float[torch.Tensor, "tested feature"]) -> None:
        mean = before.mean(0, dtype=torch.float64)
        centred, tested = before.double() - mean, after.double() - mean
        self.before, self.after, self.basis = centred.to(before.dtype), tested.to(before.dtype), basis.basis
        self.coordinates = (tested @ (basis.loading.T / basis.strength.square())).to(before.dtype)

    def predict(self, target: "FoldFit") -> Float[torch.Tensor, "tested feature"]:
        """Predict the test tokens of a target by least squares on its training tokens."""
        predicted: torch.Tensor = self.coordinates @ (self.basis.T @ target.before)
        return predicted
