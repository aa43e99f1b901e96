"""A sweep's scores with its examples drawn again: a sweep Dataset and weights in, arrays out.

Knows the Dataset, not files or models; the scores themselves are the matter of `layerscope.evaluation.intervals`.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from layerscope.evaluation import intervals

__all__ = ["example_values", "redrawn_scores"]


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


def redrawn_scores(
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
    if "kind" not in sweep or str(sweep["kind"].sel(task=task).values) not in intervals.PER_TOKEN:
        return intervals.scores(example, weights, chance)
    byte_counts = _of_examples(sweep, "target_bytes", task, loss.shape[1])
    return intervals.scores(example, weights, chance, tokens, byte_counts)


def _of_examples(sweep: xr.Dataset, name: str, task: str, count: int) -> Float[np.ndarray, " example"]:
    return np.asarray(sweep[name].sel(task=task).values[:count])
