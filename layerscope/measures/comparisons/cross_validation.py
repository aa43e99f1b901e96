"""Compare layers by how well a linear map of one predicts the other in texts that it was not fitted to."""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.kernels.canonical import centered_basis, require_spare_directions
from layerscope.measures.kernels.regression import FoldFit, deal_folds, squared_size
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = ["FOLDS", "CrossValidatedPrediction"]

FOLDS = 5


class CrossValidatedPrediction(Comparison):
    """The share of a layer's variance that least squares on another layer predicts, each text from the fit to other texts."""

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
        explained: Matrix = 1 - errors / squares[:, None]
        return explained


def _refuse_outnumbered(held: TokenSample) -> None:
    check = partial(require_spare_directions, different=len(held.distinct))
    for axis, layers in zip(held.axes, held.each(centered_basis), strict=True):
        map_layers(axis, layers, check)


def _errors(held: TokenSample, test: Bool[np.ndarray, " token"]) -> tuple[Matrix, Float[np.ndarray, " layer"]]:
    """Fit to all tokens outside the test; return the squared errors of the test, and its squares about the fitted mean."""
    rest, tested = held.select(np.flatnonzero(~test)), held.select(np.flatnonzero(test))
    _refuse_outnumbered(rest)
    fits = [
        [FoldFit(*layer) for layer in zip(bases, before.unbind(1), after.unbind(1), strict=True)]
        for bases, before, after in zip(rest.each(centered_basis), rest.sides, tested.sides, strict=True)
    ]
    targets, predictors = fits[0], fits[-1]
    squares = np.array([squared_size(target.after) for target in targets])
    errors = all_pairs(
        held.shape,
        lambda layer, other: squared_size(targets[layer].after - predictors[other].predict(targets[layer])),
        None,
    )
    return errors, squares
