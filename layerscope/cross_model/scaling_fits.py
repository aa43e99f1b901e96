"""Fit curves to the size of a segment across models, by least squares, and compare them by leave-one-out error.

There are four forms, from simple to complex:

- ``constant``: the same number of layers in every model;
- ``proportional``: a fixed share of the states;
- ``affine``: a fixed number plus a share of the states;
- ``logarithmic``: a fixed number plus a fixed increase with each tenfold of parameters.

The data support the form with the lowest root mean squared leave-one-out error, in layers; ties go to the simplest form.
Unlike AICc, which is undefined for an affine fit of up to four models, this needs one model more than a form has
parameters.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["FORMS", "Fit", "best_forms", "fit_forms"]

FORMS = ("constant", "proportional", "affine", "logarithmic")
"""From simple to complex."""

_TIE = 1e-9  # layers
_ALONE = 1e-9  # a model with a leverage this close to 1 determines a coefficient alone


@dataclass(frozen=True)
class Fit:
    """One form fitted to the sizes of some models, replicate by replicate.

    Attributes
    ----------
    intercept, slope
        The curve is ``intercept + slope * along``; a parameter that the form does not use is 0. NaN where the models do
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
        States of each model, T+1; the unit of the sizes.
    parameters
        Parameters of each model; the logarithmic form is NaN unless all are known.

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
    """Return, for each replicate, the index in `FORMS` of the form with the lowest leave-one-out error.

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
    """Return the coefficients, and the leave-one-out error from the leverages, without refitting."""
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
