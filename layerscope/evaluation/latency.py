"""How long a token takes under each schedule, measured alone.

A parallel stage is one sequential step on hardware with room for all its blocks at once. Here its blocks run one after another;
`docs/performance.md` says what one batched call over their stacked weights makes of it.
"""

import random
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from layerscope.capturing.keeping import evaluating, recording_nothing
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["seconds_per_token"]


def seconds_per_token(
    model: Model, schedules: Sequence[Schedule], *, tokens: int = 64, rounds: int = 5
) -> Float[np.ndarray, " schedule"]:
    """Measure the wall time a token of one sequence takes under each schedule, vocabulary head left out.

    The schedules take turns, in another order each round, and the fastest of their rounds counts: whatever else the machine does
    can only slow one down.

    Parameters
    ----------
    model
        The model.
    schedules
        What to time.
    tokens
        Length of the sequence, read at once.
    rounds
        How often each is timed, after one run to warm up.

    Returns
    -------
    ndarray
        Seconds a token.
    """
    ids = torch.arange(tokens).remainder(model.config.vocab_size)[None]
    inputs = model.inputs(ids, torch.ones_like(ids))
    times = np.zeros((rounds + 1, len(schedules)))
    with evaluating(model.module), recording_nothing():
        for turn in range(rounds + 1):
            for number in random.Random(turn).sample(range(len(schedules)), len(schedules)):
                with scheduled(model, schedules[number]):
                    _settle(model.device)
                    started = time.perf_counter()
                    model.trunk(**inputs)
                    _settle(model.device)
                    times[turn, number] = time.perf_counter() - started
    return np.asarray(times[1:].min(axis=0) / tokens)


def _settle(device: torch.device) -> None:
    """Wait for an accelerator that works on while the program goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
