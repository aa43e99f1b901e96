"""Which curve a number of layers follows across models: least squares, judged by leaving each model out.

Four forms, the simplest first:

- ``constant``: the same number in every model;
- ``proportional``: a fixed share of the states;
- ``affine``: a fixed number and a share of the states;
- ``logarithmic``: a fixed number and so many more with each tenfold of parameters.

The data support the form whose prediction of a model it has not seen is best: the root of the mean squared
leave-one-out error, in layers. Among forms that predict equally well it is the simplest. Unlike AICc, which has no value
for an affine fit of four models or fewer, this needs one model more than a form has numbers.

Plain arrays in, plain arrays out: nothing here knows where sizes come from.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["FORMS", "Fit", "best_forms", "fit_forms"]

FORMS = ("constant", "proportional", "affine", "logarithmic")
"""The simplest first."""

_TIE = 1e-9  # layers
_ALONE = 1e-9  # a model this near to a leverage of 1 decides a coefficient by itself


@dataclass(frozen=True)
class Fit:
    """One form fitted to the sizes of some models, replicate by replicate.

    Attributes
    ----------
    intercept, slope
        The curve is ``intercept + slope * along``; one of them is 0 where the form has not both. NaN where the models do
        not determine them.
    error
        Root mean squared leave-one-out error, in layers; NaN where leaving a model out leaves the form undetermined.
    """

    intercept: Float[np.ndarray, " replicate"]
    slope: Float[np.ndarray, " replicate"]
    error: Float[np.ndarray, " replicate"]


def fit_forms(
    sizes: Float[np.ndarray, "replicate model"],
    states: Float[np.ndarray, " model"],
    parameters: Float[np.ndarray, " model"],
) -> dict[str, Fit]:
    """Fit every form by least squares.

    Parameters
    ----------
    sizes
        Layers of one segment in each model, in each replicate.
    states
        States of each model, T+1, which the sizes are counted in.
    parameters
        Of each model; the logarithmic form is NaN unless all are known.

    Examples
    --------
    >>> fits = fit_forms(np.array([[2.0, 4.0, 8.0]]), np.array([10.0, 20.0, 40.0]), np.array([1e6, 1e7, 1e9]))
    >>> fits["proportional"].slope.round(3), fits["proportional"].error.round(3)
    (array([0.2]), array([0.]))
    """
    one, none = np.ones_like(states), np.zeros((len(sizes), 1))
    along = np.full_like(states, np.nan) if np.isnan(parameters).any() else np.log10(parameters)
    fits = {}
    for form in FORMS:
        if form == "constant":
            numbers, error = _least_squares(sizes, one[:, None])
            numbers = np.hstack([numbers, none])
        elif form == "proportional":
            numbers, error = _least_squares(sizes, states[:, None])
            numbers = np.hstack([none, numbers])
        else:
            numbers, error = _least_squares(sizes, np.stack([one, states if form == "affine" else along], axis=1))
        fits[form] = Fit(numbers[:, 0], numbers[:, 1], error)
    return fits


def best_forms(fits: dict[str, Fit]) -> Int[np.ndarray, " replicate"]:
    """Return for each replicate the place in `FORMS` of the form with the least leave-one-out error.

    Examples
    --------
    >>> sizes = np.array([[1.0, 1.0, 1.0], [2.0, 4.0, 8.0], [7.0, 12.0, 22.0]])
    >>> fits = fit_forms(sizes, np.array([10.0, 20.0, 40.0]), np.full(3, np.nan))
    >>> [FORMS[place] for place in best_forms(fits)]
    ['constant', 'proportional', 'affine']
    """
    errors = np.stack([fits[form].error for form in FORMS])
    errors = np.where(np.isnan(errors), np.inf, errors)
    least: np.ndarray = (errors <= errors.min(axis=0) + _TIE).argmax(axis=0).astype(np.int64)
    return least


def _least_squares(
    sizes: Float[np.ndarray, "replicate model"], design: Float[np.ndarray, "model term"]
) -> tuple[Float[np.ndarray, "replicate term"], Float[np.ndarray, " replicate"]]:
    """Return the coefficients, and the leave-one-out error by the leverages: no fit has to be made anew."""
    unknown = np.full((len(sizes), design.shape[1]), np.nan)
    if np.isnan(design).any() or np.linalg.matrix_rank(design) < design.shape[1]:
        return unknown, np.full(len(sizes), np.nan)
    solve = np.linalg.pinv(design)
    numbers = sizes @ solve.T
    leverage = np.einsum("mt,tm->m", design, solve)
    if leverage.max() > 1 - _ALONE:
        return numbers, np.full(len(sizes), np.nan)
    left_out = (sizes - numbers @ design.T) / (1 - leverage)
    return numbers, np.sqrt((left_out**2).mean(axis=1))
