"""Scores of examples drawn again, against the same drawn by hand."""

import numpy as np
import pytest
import xarray as xr

from layerscope.evaluation.bootstrap import example_values, resampled_scores

LOSS = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 8.0]])
RIGHT = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
TOKENS = np.array([1.0, 3.0, 2.0])


def made(chance: float | None = 0.25) -> xr.Dataset:
    """A sweep of two runs and three examples; another task has one more, so that here a fourth is padding."""
    padded = {name: np.pad(of, ((0, 0), (0, 1)), constant_values=np.nan) for name, of in (("l", LOSS), ("r", RIGHT))}
    columns = {
        "example_loss": (("task", "run", "example"), padded["l"][None]),
        "example_correct": (("task", "run", "example"), padded["r"][None]),
        "target_tokens": (("task", "example"), np.append(TOKENS, np.nan)[None]),
        "examples": ("task", [3]),
    }
    return xr.Dataset(columns | ({} if chance is None else {"chance": ("task", [chance])}), {"task": ["some"]})


def test_scores_are_those_of_the_examples_drawn():
    loss, right = example_values(made(), "some")
    assert (loss == LOSS).all()
    assert (right == RIGHT).all()
    drawn = [[0, 1, 2], [1, 1, 0]]
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 0.0]])
    found = resampled_scores(made(), "some", weights)
    for draw, chosen in enumerate(drawn):
        accuracy = RIGHT[:, chosen].mean(1)
        assert found["loss"][draw] == pytest.approx(LOSS[:, chosen].mean(1))
        assert found["loss_difference"][draw] == pytest.approx((LOSS - LOSS[0])[:, chosen].mean(1))
        assert found["accuracy"][draw] == pytest.approx(accuracy)
        assert found["perplexity"][draw] == pytest.approx(np.exp((LOSS * TOKENS)[:, chosen].mean(1)))
        assert found["normalized"][draw] == pytest.approx((accuracy - 0.25) / (accuracy[0] - 0.25))


def test_perplexities_a_token_and_a_byte_are_of_the_examples_drawn():
    sizes = np.array([4.0, 6.0, 9.0])
    sweep = made().assign(kind=("task", ["choice"]), target_bytes=(("task", "example"), np.append(sizes, np.nan)[None]))
    found = resampled_scores(sweep, "some", np.array([[1 / 3, 2 / 3, 0.0]]))
    nats, chosen = (LOSS * TOKENS)[:, [1, 1, 0]].sum(1), [1, 1, 0]
    assert found["perplexity"][0] == pytest.approx(np.exp(nats / TOKENS[chosen].sum()))
    assert found["byte_perplexity"][0] == pytest.approx(np.exp(nats / sizes[chosen].sum()))
    assert found["bits_per_byte"][0] == pytest.approx(nats / sizes[chosen].sum() / np.log(2))
    continuation = sweep.assign(kind=("task", ["continuation"]))
    assert resampled_scores(continuation, "some", np.full((1, 3), 1 / 3))["perplexity"][0] == pytest.approx(
        np.exp((LOSS * TOKENS).mean(1))
    )


def test_what_the_sweep_does_not_know_is_unknown():
    even = np.full((1, 3), 1 / 3)
    assert np.isnan(resampled_scores(made(), "some", even)["accuracy_norm"]).all()
    assert np.isnan(resampled_scores(made(None), "some", even)["normalized"]).all()
    assert np.isnan(resampled_scores(made(0.9), "some", even)["normalized"]).all()
