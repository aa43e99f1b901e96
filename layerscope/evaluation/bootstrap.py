"""A sweep's scores with its examples drawn again: a sweep Dataset and weights in, arrays out.

Knows the Dataset, not files or models; the scores themselves are the matter of `layerscope.evaluation.task_scores`.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import rankdata

from layerscope.evaluation import task_scores

__all__ = ["correlation", "drawn", "example_values", "interval", "rank_correlation", "resampled_scores"]


def example_values(
    sweep: xr.Dataset, task: str
) -> tuple[Float[np.ndarray, "run example"], Float[np.ndarray, "run example"]]:
    """Return the loss of each example of a task, and whether it was right.

    Examples
    --------
    >>> columns = {name: (("task", "run", "example"), [[[1.5, 0.5]]]) for name in ("example_loss", "example_correct")}
    >>> sweep = xr.Dataset(columns | {"examples": ("task", [1])}, {"task": ["some"]})
    >>> example_values(sweep, "some")[0]
    array([[1.5]])
    """
    one = sweep.sel(task=task).isel(example=slice(int(sweep["examples"].sel(task=task))))
    loss, right = (one[name].transpose("run", "example").values for name in ("example_loss", "example_correct"))
    return loss, right


def resampled_scores(
    sweep: xr.Dataset, task: str, weights: Float[np.ndarray, "draw example"]
) -> dict[str, Float[np.ndarray, "draw run"]]:
    """Compute the scores of all runs on one task under each draw's weights of its examples.

    ``accuracy_norm`` is NaN: a sweep does not hold it example by example. So is ``normalized`` in a draw in which the full
    model is no better than guessing, or where the sweep does not know what guessing gives.
    """
    loss, right = example_values(sweep, task)
    tokens = _of_examples(sweep, "target_tokens", task, loss.shape[1])
    example = {
        "loss": loss,
        "nats": loss * tokens,
        "accuracy": right,
        "accuracy_norm": np.full(loss.shape, np.nan),
    }
    chance = float(sweep["chance"].sel(task=task)) if "chance" in sweep else float("nan")
    if "kind" not in sweep or str(sweep["kind"].sel(task=task).values) not in task_scores.PER_TOKEN:
        return task_scores.scores(example, weights, chance)
    byte_counts = _of_examples(sweep, "target_bytes", task, loss.shape[1])
    return task_scores.scores(example, weights, chance, tokens, byte_counts)


def _of_examples(sweep: xr.Dataset, name: str, task: str, count: int) -> Float[np.ndarray, " example"]:
    return np.asarray(sweep[name].sel(task=task).values[:count])


def drawn(examples: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate example"]:
    """Draw the weights of bootstrap replicates over examples: how often each is drawn, over their number.

    All runs and tasks of a sweep that have the same examples share the draw, so that what differs between runs is paired.

    Examples
    --------
    >>> drawn(4, 2, seed=0).sum(axis=1)
    array([1., 1.])
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(examples, np.full(examples, 1 / examples), size=replicates) / examples


def interval(replicates: Float[np.ndarray, "replicate *rest"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % percentile interval; NaN where no replicate has a value.

    Examples
    --------
    >>> low, high = interval(np.arange(101.0)[:, None])
    >>> low, high
    (array([2.5]), array([97.5]))
    """
    usable = ~np.isnan(replicates).all(axis=0)
    low, high = np.full((2, *replicates.shape[1:]), np.nan)
    if usable.any():
        low[usable], high[usable] = np.nanpercentile(replicates[:, usable], [2.5, 97.5], axis=0)
    return low, high


def correlation(one: Float[np.ndarray, " run"], other: Float[np.ndarray, " run"]) -> float:
    """Return Spearman's rank correlation (ties share the mean rank); NaN where either is constant, or of fewer than 3.

    Examples
    --------
    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
    1.0
    """
    usable = np.isfinite(one) & np.isfinite(other)
    if usable.sum() < 3:
        return float("nan")
    ranks = [rankdata(values[usable]) for values in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")


def rank_correlation(
    drift: Float[np.ndarray, " run"], loss: Float[np.ndarray, " run"], replicates: int, seed: int
) -> tuple[float, float, float]:
    """Return the rank correlation of drift with loss over runs, and its 95 % interval from a bootstrap over runs.

    Examples
    --------
    >>> rank_correlation(np.arange(9.0), np.arange(9.0) ** 2, replicates=20, seed=0)
    (1.0, 1.0, 1.0)
    """
    value = correlation(drift, loss)
    if not replicates:
        return value, float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(drift), size=(replicates, len(drift)))
    found = np.array([correlation(drift[draw], loss[draw]) for draw in chosen])
    low, high = interval(found[:, None])
    return value, float(low[0]), float(high[0])
