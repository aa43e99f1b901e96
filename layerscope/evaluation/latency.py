"""How long a token takes under each schedule, measured alone.

A parallel stage is one sequential step on hardware with room for all its blocks at once. It is timed both ways: its blocks one
after another, and as one batched call over their stacked weights.
"""

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from layerscope.execution.scheduled import scheduled
from layerscope.models.contexts import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["seconds_per_token"]


def seconds_per_token(
    model: Model, schedules: Sequence[Schedule], *, tokens: int = 64, rounds: int = 5
) -> Float[np.ndarray, "schedule 2"]:
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
        Seconds a token: block after block, and with the blocks of a stage as one batched call (see `layerscope.scheduled`); there
        NaN for schedules without a parallel stage.
    """
    ids = torch.arange(tokens).remainder(model.config.vocab_size)[None]
    inputs = model.inputs(ids, torch.ones_like(ids))
    ways = [
        (number, stacked)
        for number, schedule in enumerate(schedules)
        for stacked in (False, True)
        if not stacked or any(len(stage) > 1 for stage in schedule)
    ]
    found = np.full((rounds + 1, len(schedules), 2), np.nan)
    with eval_mode(model.module), no_grad():
        for turn in range(rounds + 1):
            for number, stacked in random.Random(turn).sample(ways, len(ways)):
                found[turn, number, int(stacked)] = _seconds(model, schedules[number], inputs, stacked)
    return np.asarray(found[1:].min(axis=0) / tokens)


def _seconds(model: Model, schedule: Schedule, inputs: dict[str, Any], stacked: bool) -> float:
    with scheduled(model, schedule, stacked=stacked):
        if stacked:
            model.trunk(**inputs)  # which stacks the weights, once for all that comes after
        _settle(model.device)
        started = time.perf_counter()
        model.trunk(**inputs)
        _settle(model.device)
        return time.perf_counter() - started


def _settle(device: torch.device) -> None:
    """Wait for an accelerator that works on while the program goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
