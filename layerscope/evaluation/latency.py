"""Wall time per token under each schedule, measured alone.

Hardware with room for all blocks of a parallel stage runs it as one step. It is therefore timed in two ways: block after block,
and as one batched call over stacked weights.
"""

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from layerscope.evaluation.sweep_plan import SweepPlan
from layerscope.execution.batched_blocks import stage_on_devices
from layerscope.execution.scheduled import scheduled
from layerscope.models.devices import running_device
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["latency_columns", "seconds_per_token"]

_TIMED = ("identity", "skip", "parallel", "looped_parallel")
_STACKED = {
    "long_name": "1 where one batched call a stage was the faster way, 0 where block after block; -1 not measured"
}


def seconds_per_token(
    model: Model, schedules: Sequence[Schedule], *, tokens: int = 64, rounds: int = 5
) -> Float[np.ndarray, "schedule 2"]:
    """Measure the wall time per token of one sequence under each schedule, without the vocabulary head.

    The schedules take turns in a new order each round. The fastest round counts, because other load on the machine can only slow
    a run down.

    Parameters
    ----------
    model
        Model to time.
    schedules
        Schedules to time.
    tokens
        Length of the sequence.
    rounds
        Number of timed runs of each schedule, after one warm-up run.

    Returns
    -------
    ndarray
        Seconds per token: block after block, and with the blocks of a stage as one batched call (see `layerscope.scheduled`). The
        second is NaN for schedules without a parallel stage, or with one whose blocks are on several devices.
    """
    ids = model.trial_ids(1, tokens)
    inputs = model.inputs(ids, torch.ones_like(ids))
    ways = [
        (number, stacked)
        for number, schedule in enumerate(schedules)
        for stacked in (False, True)
        if not stacked or _can_stack(model, schedule)
    ]
    seconds = np.full((rounds + 1, len(schedules), 2), np.nan)
    with eval_mode(model.module), no_grad():
        for turn in range(rounds + 1):
            for number, stacked in random.Random(turn).sample(ways, len(ways)):
                seconds[turn, number, int(stacked)] = _seconds(model, schedules[number], inputs, stacked)
    return np.asarray(seconds[1:].min(axis=0) / tokens)


def _seconds(model: Model, schedule: Schedule, inputs: dict[str, Any], stacked: bool) -> float:
    with scheduled(model, schedule, stacked=stacked):
        if stacked:
            model.trunk(**inputs)  # stacks the weights, once
        _synchronize(model)
        started = time.perf_counter()
        model.trunk(**inputs)
        _synchronize(model)
        return time.perf_counter() - started


def _can_stack(model: Model, schedule: Schedule) -> bool:
    return any(len(stage) > 1 for stage in schedule) and stage_on_devices(model, schedule) is None


def _synchronize(model: Model) -> None:
    """Wait until accelerators have finished their queued work."""
    for device in {model.device, *map(running_device, model.blocks)}:
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def latency_columns(model: Model, plan: SweepPlan, tokens: int) -> dict[str, Any]:
    """Return the variables of a sweep file on latency: the full model, skip and parallel runs, each timed alone.

    A parallel stage counts in the faster of its two ways; see `seconds_per_token`.
    """
    runs = plan.runs
    chosen = [number for number, run in enumerate(runs) if run.variant in _TIMED]
    seconds, stacked = np.full(len(runs), np.nan), np.full(len(runs), -1)
    ways = seconds_per_token(model, [plan.schedules[number] for number in chosen], tokens=tokens)
    seconds[chosen], stacked[chosen] = np.nanmin(ways, axis=1), np.nanargmin(ways, axis=1)
    long_name = f"wall time a token of one sequence of {tokens} alone, vocabulary head left out"
    attributes = {"long_name": long_name, "units": "s", "tokens": tokens}
    return {"seconds_per_token": ("run", seconds, attributes), "stacked": ("run", stacked, _STACKED)}
