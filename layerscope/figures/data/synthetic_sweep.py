"""Synthetic sweep of a model of four blocks for the examples in docstrings."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

__all__ = ["example_sweep"]

_RUNS = (  # variant, start, seed, loops, affected, stages as states of the full model, loss, drift
    ("identity", -1, -1, -1, 0, (1, 2, 3, 4), 2.0, 0.00),
    ("skip", 1, -1, -1, 1, (1, 3, 4), 2.4, 0.05),
    ("skip", 0, -1, -1, 3, (4,), 5.0, 0.60),
    ("middle_repeat", 1, -1, -1, 1, (1, 2, 3, 4), 2.0, 0.00),
    ("middle_repeat", 0, -1, -1, 3, (1, 2, 3, 4), 6.0, 0.80),
    ("looped_parallel", 0, -1, 1, 3, (3, 4), 3.5, 0.40),
    ("looped_parallel", 0, -1, 3, 3, (1, 2, 3, 4), 3.0, 0.30),
    ("drop", 0, -1, -1, 1, (2, 3, 4), 7.0, 0.90),
    ("drop", 1, -1, -1, 1, (1, 3, 4), 2.4, 0.05),
)


def example_sweep() -> xr.Dataset:
    """Return a sweep of nine runs on one task.

    Examples
    --------
    >>> dict(example_sweep().sizes)
    {'task': 1, 'run': 9, 'stage': 4}
    """
    variant, start, seed, loops, affected, states, loss, drift = zip(*_RUNS, strict=True)
    reference = np.array([[*row, *[-1] * (4 - len(row))] for row in states])
    reached = np.where(reference > 0, reference / 4, np.nan)
    columns: dict[str, Sequence[int | str]] = {
        "variant": variant,
        "start": start,
        "seed": seed,
        "loops": loops,
        "affected": affected,
    }
    columns |= {"stages": [len(row) for row in states]}
    columns |= {
        "schedule": [f"{name}:{number}" if number >= 0 else name for name, number in zip(variant, start, strict=True)]
    }
    return xr.Dataset(
        {
            "loss": (("task", "run"), [loss]),
            "drift_cosine": (("task", "run"), [drift]),
            "drift_cosine_stage": (("task", "run", "stage"), [np.array(drift)[:, None] * reached]),
            "variance_stage": (("task", "run", "stage"), [np.exp(3 * reached)]),
            "reference_state": (("run", "stage"), reference),
        },
        {"task": ["builtin:cloze"], **{name: ("run", list(values)) for name, values in columns.items()}},
    )
