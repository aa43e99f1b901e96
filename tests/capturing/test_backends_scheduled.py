"""The conformance suite under schedules: what every backend does, for every family that it declares."""

import functools
import gc
import weakref

import pytest
import torch

from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec, Session
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_schedule
from tests.capturing.conformance import (
    PAIRS,
    ROUNDING,
    assert_as_it_was,
    assert_same_bits,
    batch,
    called_modules,
    distance,
    is_head,
    make_model,
    shared_model,
    snapshot,
    streams,
)
from tests.execution.oracles import run_by_hand
from tests.families import DEPTH

pytestmark = pytest.mark.usefixtures("block_runs", "kept_bridges")

SINGLE, MIXED = Schedule([(0,), (3,), (2,), (1,)]), Schedule([(3,), (0, 0, 2), (1,), (1,), (1,)])

each_pair = pytest.mark.parametrize(("backend", "family"), PAIRS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def every_stage(model: Model, schedule: Schedule) -> CaptureSpec:
    return CaptureSpec(tuple(range(len(schedule) + 1)), model.final_norm is not None, schedule)


@functools.cache
def by_hand(family: str, schedule: Schedule, side: str = "right") -> BatchStates:
    model = shared_model(family)
    with torch.no_grad():
        states, _ = run_by_hand(model, schedule, **model.inputs(*batch(model, side)))
        normed = None if model.final_norm is None else model.final_norm(states[-1])
    return BatchStates(states, normed)


def run_once(backend: str, model: Model, wanted: CaptureSpec, side: str = "right") -> BatchStates:
    with backend_for(backend, model).session(model, wanted) as run:
        return run(TextInputs(*batch(model, side)))


@pytest.mark.parametrize("schedule", [SINGLE, MIXED], ids=str)
@each_pair
def test_states_are_those_by_hand(backend, family, schedule):
    model = shared_model(family)
    for side in ("left", "right") if schedule is MIXED else ("right",):
        got = run_once(backend, model, every_stage(model, schedule), side)
        wanted, mask = by_hand(family, schedule, side), batch(model, side)[1]
        assert len(got.hidden) == len(schedule) + 1
        exact = schedule is not MIXED and backend != "transformer-lens"
        assert distance(got, wanted, mask) <= (0 if exact else ROUNDING[torch.float32])


@pytest.mark.parametrize(
    ("layers", "final_norm", "calls"), [((0,), False, 0), ((0, 2), False, 4), ((3,), False, 5), ((1,), True, 7)]
)
@each_pair
def test_only_what_is_needed_runs(block_runs, backend, family, layers, final_norm, calls):
    model = shared_model(family)
    if final_norm and model.final_norm is None:
        final_norm, calls = False, 1
    with (
        backend_for(backend, model).session(model, CaptureSpec(layers, final_norm, MIXED)) as run,
        called_modules() as called,
    ):
        block_runs.clear()
        states = run(TextInputs(*batch(model)))
        ran = len(block_runs)
    everything = run_once(backend, model, every_stage(model, MIXED))
    assert_same_bits(
        states,
        BatchStates([everything.hidden[layer] for layer in layers], everything.final_norm if final_norm else None),
    )
    assert ran == calls
    assert not any(is_head(module, model) for module in called)


class Trouble(Exception):
    pass


@each_pair
def test_the_model_is_left_as_it_was(backend, family):
    model = make_model(family)
    model.module.train()
    model.blocks[1].eval()
    armed = []

    def fail(*_):
        if armed:
            raise Trouble

    model.blocks[2].register_forward_pre_hook(fail)
    before, wanted = snapshot(model), every_stage(model, MIXED)

    def capture_and_fail(run: Session) -> None:
        expected = run(TextInputs(*batch(model)))
        armed.append(True)
        with pytest.raises(Trouble):
            run(TextInputs(*batch(model)))
        armed.clear()
        assert_same_bits(run(TextInputs(*batch(model))), expected)
        armed.append(True)
        run(TextInputs(*batch(model)))

    with pytest.raises(Trouble), backend_for(backend, model).session(model, wanted) as run:
        capture_and_fail(run)
    armed.clear()
    assert_as_it_was(model, before)
    assert_same_bits(run_once(backend, model, wanted), run_once(backend, shared_model(family), wanted))


@each_backend
def test_between_batches_the_model_runs_as_ever(backend):
    model = make_model("gpt2")
    ids, mask, _ = batch(model)
    expected = model.module(**model.inputs(ids, mask)).logits
    with backend_for(backend, model).session(model, CaptureSpec((0, 1), schedule=MIXED)) as run:
        run(TextInputs(ids, mask))
        assert torch.equal(model.module(**model.inputs(ids, mask)).logits, expected)


@pytest.mark.parametrize("inner", BACKENDS)
@pytest.mark.parametrize("outer", BACKENDS)
def test_sessions_nest(outer, inner):
    """Of one model, with a schedule and without."""
    model = make_model("llama")
    before, plain = snapshot(model), CaptureSpec((0, 2))
    for one, other in ((every_stage(model, MIXED), plain), (plain, every_stage(model, SINGLE))):
        with backend_for(outer, model).session(model, one) as run_outer:
            expected = run_outer(TextInputs(*batch(model)))
            with backend_for(inner, model).session(model, other) as run_inner:
                within = run_inner(TextInputs(*batch(model)))
                assert_same_bits(run_outer(TextInputs(*batch(model))), expected)
                assert_same_bits(run_inner(TextInputs(*batch(model))), within)
            assert_same_bits(run_outer(TextInputs(*batch(model))), expected)
        assert_same_bits(run_once(inner, model, other), within)
    assert_as_it_was(model, before)


@each_backend
def test_nothing_of_a_batch_outlives_it(backend):
    model = shared_model("llama")
    with backend_for(backend, model).session(model, every_stage(model, MIXED)) as run:
        run(TextInputs(*batch(model)))
        gc.disable()  # memory must not wait for the collector
        try:
            alive = [weakref.ref(stream) for stream in streams(run(TextInputs(*batch(model))))]
            assert not any(stream() is not None for stream in alive)
        finally:
            gc.enable()


@each_backend
def test_no_gradients(backend):
    model = shared_model("llama")
    with torch.enable_grad():
        states = run_once(backend, model, every_stage(model, MIXED))
    assert not any(stream.requires_grad or stream.grad_fn for stream in streams(states))


@pytest.mark.real
def test_backends_agree_on_a_real_model(smollm2):
    ids = torch.randint(100, 40_000, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    _, schedule = parse_schedule("looped_parallel:12:loops=2", smollm2.depth)
    states = {}
    for name in BACKENDS:
        with backend_for(name, smollm2).session(smollm2, every_stage(smollm2, schedule)) as run:
            states[name] = run(TextInputs(ids, mask))
    assert_same_bits(states["nnsight"], states["hooks"])
    assert distance(states["transformer-lens"], states["hooks"], mask) < 1e-5
    with torch.no_grad():
        expected, _ = run_by_hand(smollm2, schedule, **smollm2.inputs(ids, mask))
        normed = smollm2.final_norm(expected[-1])
    assert distance(states["hooks"], BatchStates(expected, normed), mask) < 1e-5


def test_the_schedules_are_worth_the_test():
    assert len(SINGLE) == DEPTH
    assert MIXED.block_calls == 7
