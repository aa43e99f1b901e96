"""How well a linear map of one layer predicts another in texts that it was not fitted to.

This module knows tokens held; it knows no labels and no files.
"""

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.kernels.canonical import OrthonormalBasis, centered_basis, require_spare_directions
from layerscope.measures.kernels.priority import row_priority
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = ["FOLDS", "CrossValidatedPrediction", "deal_folds"]

FOLDS = 5

Layer = Float[torch.Tensor, "token feature"]


def deal_folds(sequence: Int[np.ndarray, " token"], folds: int) -> Int[np.ndarray, " token"]:
    """Deal whole sequences into folds, in the order of a hash of their places; return the fold of each token.

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


class CrossValidatedPrediction(Comparison):
    """The variance of a layer that least squares on another layer predicts, each text by the fit on other texts."""

    prepare = staticmethod(centered_basis)

    def __init__(self) -> None:
        super().__init__(
            f"variance of layer predicted from layer_other in {FOLDS} folds of whole sequences", folds=FOLDS
        )

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        folds = min(FOLDS, len(np.unique(held.sequence_index)))
        if folds < 2:
            raise Undefined("folds are made of whole sequences and it has one")
        _refuse_outnumbered(held)
        fold = deal_folds(held.sequence_index, folds)
        parts = [_errors(held, fold == number) for number in range(folds)]
        errors, squares = np.sum([part[0] for part in parts], axis=0), np.sum([part[1] for part in parts], axis=0)
        found: Matrix = 1 - errors / squares[:, None]
        return found


def _refuse_outnumbered(held: TokenSample) -> None:
    check = partial(require_spare_directions, different=len(held.distinct))
    for axis, layers in zip(held.axes, held.each(centered_basis), strict=True):
        map_layers(axis, layers, check)


def _errors(held: TokenSample, test: Bool[np.ndarray, " token"]) -> tuple[Matrix, Float[np.ndarray, " layer"]]:
    """Fit on all tokens but some; return the squared errors on those, and their squares about the fitted tokens' mean."""
    rest, tested = held.select(np.flatnonzero(~test)), held.select(np.flatnonzero(test))
    _refuse_outnumbered(rest)
    fits = [
        [_Fit(*layer) for layer in zip(found, before.unbind(1), after.unbind(1), strict=True)]
        for found, before, after in zip(rest.each(centered_basis), rest.sides, tested.sides, strict=True)
    ]
    targets, predictors = fits[0], fits[-1]
    squares = np.array([_size(target.after) for target in targets])
    errors = all_pairs(
        held.shape,
        lambda layer, other: _size(targets[layer].after - predictors[other].predict(targets[layer])),
        None,
    )
    return errors, squares


def _size(states: Layer) -> float:
    return float(states.double().square().sum())


class _Fit:
    """One layer's training tokens as an orthonormal basis, and its test tokens in that basis.

    Attributes
    ----------
    before, after
        The training and the test tokens, less the training tokens' mean.
    """

    def __init__(self, found: OrthonormalBasis, before: Layer, after: Float[torch.Tensor, "tested feature"]) -> None:
        mean = before.mean(0, dtype=torch.float64)
        centred, tested = before.double() - mean, after.double() - mean
        self.before, self.after, self.basis = centred.to(before.dtype), tested.to(before.dtype), found.basis
        self.coordinates = (tested @ (found.loading.T / found.strength.square())).to(before.dtype)

    def predict(self, target: "_Fit") -> Float[torch.Tensor, "tested feature"]:
        """Predict the test tokens of a target by least squares on its training tokens."""
        predicted: torch.Tensor = self.coordinates @ (self.basis.T @ target.before)
        return predicted
