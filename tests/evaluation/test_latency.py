"""Wall time a token: what is timed, not how fast it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from layerscope.evaluation import latency
from layerscope.evaluation.latency import seconds_per_token
from layerscope.models.model import Model
from layerscope.schedules import variants
from layerscope.schedules.schedule import Schedule
from tests.families import DEPTH, tiny_model


def test_every_schedule_is_run_in_turn() -> None:
    model, order = tiny_model("llama"), []
    handles = [
        block.register_forward_hook(lambda *_, number=number: order.append(number))
        for number, block in enumerate(model.blocks)
    ]
    try:
        found = seconds_per_token(model, [variants.identity(DEPTH), variants.reverse(DEPTH, 0)], tokens=8, rounds=2)
    finally:
        for handle in handles:
            handle.remove()
    runs = [tuple(order[start : start + DEPTH]) for start in range(0, len(order), DEPTH)]
    assert sorted(runs) == [(0, 1, 2, 3)] * 3 + [(0, 3, 2, 1)] * 3
    for turn in range(3):
        assert len(set(runs[2 * turn : 2 * turn + 2])) == 2, "each once a round"
    assert found.shape == (2, 2)
    assert (found[:, 0] > 0).all()
    assert np.isnan(found[:, 1]).all(), "nothing is parallel"
    assert torch.is_grad_enabled()


def test_a_parallel_stage_is_timed_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is one call, its weights are stacked before the clock starts."""
    entered, clock, seconds = [], [0.0], {False: 0.5, True: 0.25}
    real = latency.scheduled

    @contextmanager
    def noted(model: Model, schedule: Schedule, *, stacked: bool) -> Iterator[None]:
        entered.append((str(schedule), stacked))
        runs = []

        def record(number: int, stream: torch.Tensor) -> None:
            runs.append(number)
            clock[0] += seconds[stacked] * (number == 1)

        with real(model, schedule, record):
            yield
        assert runs.count(0) == 1 + stacked

    monkeypatch.setattr(latency, "scheduled", noted)
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = seconds_per_token(
        tiny_model("llama"), [variants.identity(DEPTH), variants.parallel(DEPTH, 0)], tokens=1, rounds=1
    )
    assert sorted(entered) == [("0 (1|2|3)", False)] * 2 + [("0 (1|2|3)", True)] * 2 + [("0-3", False)] * 2
    assert found[:, 0].tolist() == [0.5, 0.5]
    assert np.isnan(found[0, 1])
    assert found[1, 1] == 0.25, "the run that stacks the weights is not timed"
