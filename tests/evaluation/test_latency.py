"""Wall time a token: what is timed, not how fast it is."""

import torch

from layerscope.evaluation.latency import seconds_per_token
from layerscope.schedules import variants
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
    assert found.shape == (2,)
    assert (found > 0).all()
    assert torch.is_grad_enabled()
