"""Drift against states taken one by one, and the states they are held against."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerscope.evaluation.drift import DriftMeter
from layerscope.evaluation.prompt_batches import build_batch
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.scoring import score_batch
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from layerscope.schedules import variants
from layerscope.schedules.reference_states import reference_states
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.tree import prefix_tree
from tests.families import DEPTH, tiny_model

SPECS = ["identity", "skip:0", "reverse:0", "looped_parallel:0:loops=2", "0-3 0-3", "3", "0-1"]
SCHEDULES = [parse_schedule(spec, DEPTH)[1] for spec in SPECS]
WHOLE = [Prompt((5, 6, 7, 8, 9, 10, 11), ((12, 13),)), Prompt((20, 21), ((22,),)), Prompt((30,), ((31,),))]
FORKED = [Prompt((5, 6, 7, 8, 9, 10, 11), ((12, 13), (14,))), Prompt((20, 21), ((22, 23), (24, 25, 26)))]


def states(model: Model, schedule: Schedule, tokens: tuple[int, ...]) -> list[np.ndarray]:
    """The stream before the first stage and after each, for one sequence by itself."""
    kept: list[np.ndarray] = []
    with scheduled(model, schedule, lambda _, stream: kept.append(stream[0].double().numpy())), torch.no_grad():
        model.trunk(torch.tensor([tokens]))
    return kept


def drifts(run: np.ndarray, full: np.ndarray) -> tuple[float, float]:
    """The definitions, token by token, position 0 left out."""
    if len(run) < 2:
        return np.nan, np.nan
    run, full = run[1:], full[1:]
    cosines = [h @ g / np.sqrt((h @ h) * (g @ g)) for h, g in zip(run, full, strict=True)]
    norms = [np.sqrt(((h - g) ** 2).sum() / (g**2).sum()) for h, g in zip(run, full, strict=True)]
    return 1 - np.mean(cosines), float(np.mean(norms))


def song(one: np.ndarray, other: np.ndarray) -> float:
    """HSIC_1, with its two sums written out."""
    tokens = len(one)
    kernels = [states @ states.T * (1 - np.eye(tokens)) for states in (one, other)]
    trace, ones = np.trace(kernels[0] @ kernels[1]), np.ones(tokens)
    total = (ones @ kernels[0] @ ones) * (ones @ kernels[1] @ ones) / ((tokens - 1) * (tokens - 2))
    return (trace + total - 2 / (tokens - 2) * (ones @ kernels[0] @ kernels[1] @ ones)) / (tokens * (tokens - 3))


@pytest.mark.parametrize(("prompts", "gold"), [(WHOLE, [0, 0, 0]), (FORKED, [0, 1])], ids=["whole", "forked"])
def test_drift_of_every_run(prompts: list[Prompt], gold: list[int]) -> None:
    model = tiny_model("llama")
    layout, root = build_batch(prompts, gold, tuple(range(len(prompts))), 0), prefix_tree(SCHEDULES)
    meter = DriftMeter(layout, root, dict(enumerate(SCHEDULES)), DEPTH)
    held, checked = [], []

    def finished(run: int, scores: object, seconds: float) -> None:
        held.append(run)
        while held and meter.ready:
            check(held.pop())

    def check(run: int) -> None:
        drift = meter.finished(run)
        tokens = [
            (*prompt.context, *prompt.continuations[right][:-1]) for prompt, right in zip(prompts, gold, strict=True)
        ]
        own = [states(model, SCHEDULES[run], sequence) for sequence in tokens]
        full = [states(model, variants.identity(DEPTH), sequence) for sequence in tokens]
        expected = np.array([drifts(o[-1], f[-1]) for o, f in zip(own, full, strict=True)])
        np.testing.assert_allclose(drift.cosine, expected[:, 0], atol=2e-6)
        np.testing.assert_allclose(drift.norm, expected[:, 1], atol=2e-6)
        for stage, reference in enumerate(reference_states(SCHEDULES[run], DEPTH)):
            by_hand = np.array([drifts(o[stage + 1], f[reference]) for o, f in zip(own, full, strict=True)])
            np.testing.assert_allclose(drift.cosine_stage[stage], np.nansum(by_hand[:, 0]), atol=5e-6)
            np.testing.assert_allclose(drift.norm_stage[stage], np.nansum(by_hand[:, 1]), atol=5e-6)
        last, last_full = (np.concatenate([s[-1][1:] for s in side]) for side in (own, full))
        pairs = ((last, last_full), (last, last), (last_full, last_full))
        by_hand = np.array([song(one, other) for one, other in pairs])
        np.testing.assert_allclose(drift.hsic / np.abs(drift.hsic[2]), by_hand / abs(by_hand[2]), atol=1e-4)
        moments = meter.sums.copy()
        assert all(sum_.tokens == len(last) for sum_ in moments.values())
        checked.append(run)

    score_batch(model, layout, root, finished, meter.visit)
    assert sorted(checked) == list(range(len(SCHEDULES)))


def test_the_full_model_does_not_drift() -> None:
    model, root = tiny_model("gpt2"), prefix_tree(SCHEDULES[:1])
    layout = build_batch(WHOLE, [0, 0, 0], (0, 1, 2), 0)
    meter = DriftMeter(layout, root, {0: SCHEDULES[0]}, DEPTH)
    found = []
    score_batch(model, layout, root, lambda run, *_: found.append(meter.finished(run)), meter.visit)
    assert found[0].cosine[:2].tolist() == [0.0, 0.0]
    assert np.isnan(found[0].cosine[2]), "a prompt of one token has none but its first"
    assert found[0].cosine_stage.tolist() == [0.0] * DEPTH
    assert found[0].norm_stage.tolist() == [0.0] * DEPTH


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (variants.identity(6), (1, 2, 3, 4, 5, 6)),
        (variants.skip(6, 1), (1, 2, 6)),
        (variants.skip(6, 0), (1,)),
        (variants.reverse(6, 0), (1, 2, 3, 4, 5, 6)),
        (variants.parallel(6, 1), (1, 2, 5, 6)),
        (variants.drop(6, 2), (1, 2, 4, 5, 6)),
        (variants.swap(6, 2), (1, 2, 3, 4, 5, 6)),
        (variants.drop(6, 5), (1, 2, 3, 4, 5)),
        (Schedule([(5,), (5,), (5,)]), (3, 5, 6)),
    ],
)
def test_which_state_a_stage_is_held_against(schedule: Schedule, expected: tuple[int, ...]) -> None:
    assert reference_states(schedule, 6) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_references_rise_and_stay_within_the_model(blocks: list[int]) -> None:
    references = reference_states(Schedule((block,) for block in blocks), 6)
    assert len(references) == len(blocks)
    assert list(references) == sorted(references)
    assert 0 <= references[0] <= references[-1] <= 6
