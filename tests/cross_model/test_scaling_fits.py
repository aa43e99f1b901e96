"""Least squares and leave-one-out errors against fits made anew without each model."""

import numpy as np
import pytest

from layerscope.cross_model.paper_claims import beginning_trend, check_claims
from layerscope.cross_model.scaling_fits import FORMS, best_forms, fit_forms

STATES = np.array([7.0, 13.0, 19.0, 25.0, 37.0])
PARAMETERS = np.array([1e6, 3e6, 2e7, 6e7, 9e8])


def predicted(form, states, parameters, sizes, at):
    """Fit without one model and predict it, by numpy's own polynomial fits."""
    kept = np.arange(len(states)) != at
    if form == "constant":
        return sizes[kept].mean()
    if form == "proportional":
        return states[at] * (sizes[kept] @ states[kept]) / (states[kept] @ states[kept])
    along = states if form == "affine" else np.log10(parameters)
    return np.polyval(np.polyfit(along[kept], sizes[kept], 1), along[at])


@pytest.mark.parametrize("form", FORMS)
def test_the_leave_one_out_error_is_that_of_fits_without_each_model(form):
    sizes = np.random.default_rng(0).integers(1, 12, (3, 5)).astype(float)
    fit = fit_forms(sizes, STATES, PARAMETERS)[form]
    for row, found in zip(sizes, fit.error, strict=True):
        misses = [row[at] - predicted(form, STATES, PARAMETERS, row, at) for at in range(5)]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(misses))), rel=1e-10)


def test_coefficients_are_those_of_the_curve():
    log = np.log10(PARAMETERS)
    sizes = np.stack([np.full(5, 3.0), 0.25 * STATES, 1 + 0.5 * STATES, 2 + 0.7 * log])
    fits = fit_forms(sizes, STATES, PARAMETERS)
    for row, (form, numbers) in enumerate(zip(FORMS, [(3, 0), (0, 0.25), (1, 0.5), (2, 0.7)], strict=True)):
        assert (fits[form].intercept[row], fits[form].slope[row]) == pytest.approx(numbers)
        assert fits[form].error[row] == pytest.approx(0, abs=1e-9)
    assert [FORMS[place] for place in best_forms(fits)] == list(FORMS)


def test_forms_that_a_model_alone_decides_are_not_chosen():
    two = fit_forms(np.array([[2.0, 5.0]]), STATES[:2], PARAMETERS[:2])
    assert np.isnan(two["affine"].error).all()
    assert two["affine"].slope[0] == pytest.approx(0.5)
    same_depth = fit_forms(np.array([[2.0, 3.0, 5.0]]), np.full(3, 7.0), np.full(3, np.nan))
    assert np.isnan(same_depth["affine"].slope).all()
    assert np.isnan(same_depth["logarithmic"].slope).all()
    assert FORMS[best_forms(same_depth)[0]] == "constant"
    one_other = fit_forms(np.array([[2.0, 3.0, 5.0]]), np.array([7.0, 7.0, 13.0]), np.full(3, np.nan))
    assert np.isnan(one_other["affine"].error).all()


def test_the_trend_is_the_least_squares_slope():
    shares = np.random.default_rng(0).random((4, 5))
    slopes = [np.polyfit(np.log10(PARAMETERS), row, 1)[0] for row in shares]
    assert beginning_trend(shares, np.log10(PARAMETERS)) == pytest.approx(slopes)
    assert np.isnan(beginning_trend(shares[:, :2], np.array([6.0, 6.0]))).all()


def verdicts(*beginnings, endings=(1, 1, 1), states=(20, 20, 20)):
    sizes = np.array(
        [[[b, s - b - e, e] for b, s, e in zip(row, states, endings, strict=True)] for row in beginnings], np.int64
    )
    found = check_claims(sizes, np.array(states), np.arange(float(len(states))))
    return [one.verdict for one in found.values()]


def test_verdicts():
    assert verdicts(*[(9, 6, 3)] * 21) == ["holds", "holds"]
    assert verdicts(*[(3, 6, 9)] * 21, endings=(1, 1, 2)) == ["fails", "fails"]
    assert verdicts(*[(4, 4, 4)] * 21) == ["holds", "fails"]
    # Two in twenty replicates say otherwise.
    assert verdicts(*[(9, 6, 3)] * 19, *[(3, 6, 9)] * 2)[1] == "undecided"
    # Without the first model nothing falls.
    assert verdicts(*[(9, 3, 3)] * 21)[1] == "undecided"
    assert verdicts(*[(9, 3)] * 21, endings=(1, 1), states=(20, 20))[1] == "undecided"
