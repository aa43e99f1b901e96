"""The conformance suite: what every backend does, for every family that it declares."""

import gc
import warnings
import weakref
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch

from layerscope.capturing import nnsight_backend
from layerscope.capturing.backends import BACKENDS, BackendRecord, backend_for
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec, Session
from layerscope.errors import CaptureError, UsageError
from layerscope.models.supported_families import supported_families
from tests.capturing.conformance import (
    LENGTHS,
    OWN_ARITHMETIC,
    PAIRS,
    ROUNDING,
    assert_as_it_was,
    assert_same_bits,
    batch,
    called_modules,
    distance,
    every_state,
    is_head,
    make_model,
    run_once,
    shared_model,
    snapshot,
    streams,
)
from tests.families import DEPTH, FAMILIES

pytestmark = pytest.mark.usefixtures("block_runs")  # before any session is opened

each_pair = pytest.mark.parametrize(("backend", "family"), PAIRS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


class OpenSessions:
    """Sessions that want every state, opened once and closed together."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.opened: dict[tuple[str, str, torch.dtype], Session] = {}

    def __call__(self, backend: str, family: str, dtype: torch.dtype = torch.float32) -> Session:
        key = (backend, family, dtype)
        if key not in self.opened:
            model = shared_model(family, dtype)
            session = backend_for(backend, model).session(model, every_state(model))
            self.opened[key] = self.stack.enter_context(session)
        return self.opened[key]


@pytest.fixture(scope="module")
def opened() -> Iterator[OpenSessions]:
    with ExitStack() as stack:
        yield OpenSessions(stack)


# Which states


def test_every_listed_family_has_a_tiny_model():
    taken = {entry.family for entry in supported_families() if entry.hooks == "yes"}
    assert set(FAMILIES) <= taken
    assert all(record.refused <= taken for record in BACKENDS.values())
    assert not BACKENDS["hooks"].refused


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_states_are_those_the_model_itself_reports(opened, family):
    model = shared_model(family)
    ids, mask, _ = batch(model)
    states = opened("hooks", family)(TextInputs(ids, mask))
    with torch.no_grad():
        output = model.trunk(**model.inputs(ids, mask), output_hidden_states=True)
    for state, reported in zip(states.hidden[:-1], output.hidden_states[:-1], strict=True):
        assert torch.equal(state, reported)
    # What the library reports last is after the final norm, which is why it is never used for the last state.
    last = states.hidden[-1] if states.final_norm is None else states.final_norm
    assert torch.equal(last, output.last_hidden_state)
    if model.final_norm is not None:
        assert torch.equal(model.final_norm(states.hidden[-1]), output.last_hidden_state)


@each_pair
def test_states_are_the_hooks_states(opened, backend, family):
    allowed = OWN_ARITHMETIC.get(backend, 0)
    ids, mask, _ = batch(shared_model(family))
    got, expected = opened(backend, family)(TextInputs(ids, mask)), opened("hooks", family)(TextInputs(ids, mask))
    assert distance(got, expected, mask) <= allowed
    unpadded = torch.ones_like(mask)  # the model may then leave its mask out altogether
    got, expected = (
        opened(backend, family)(TextInputs(ids, unpadded)),
        opened("hooks", family)(TextInputs(ids, unpadded)),
    )
    assert distance(got, expected, unpadded) <= allowed


@each_backend
def test_states_come_in_the_dtype_of_the_model(backend):
    model = make_model("llama", torch.bfloat16)
    ids, mask, _ = batch(model)
    assert {stream.dtype for stream in streams(run_once(backend, model, ids, mask))} == {torch.bfloat16}


@pytest.mark.real
def test_backends_agree_on_a_real_model(smollm2):
    ids = torch.randint(100, 40_000, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    wanted = CaptureSpec(tuple(range(smollm2.depth + 1)), final_norm=True)
    states = {}
    for name in BACKENDS:
        with backend_for(name, smollm2).session(smollm2, wanted) as run:
            states[name] = run(TextInputs(ids, mask))
    assert_same_bits(states["nnsight"], states["hooks"])
    assert distance(states["transformer-lens"], states["hooks"], mask) < 1e-5


@pytest.mark.real
def test_backends_on_a_real_encoder_without_a_head(minilm):
    ids = torch.randint(1000, 20_000, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    wanted = CaptureSpec(tuple(range(minilm.depth + 1)))
    with (
        backend_for("hooks", minilm).session(minilm, wanted) as hooks,
        backend_for("nnsight", minilm).session(minilm, wanted) as nnsight,
    ):
        assert_same_bits(nnsight(TextInputs(ids, mask)), hooks(TextInputs(ids, mask)))
    refused = backend_for("transformer-lens", minilm).session(minilm, wanted)
    with pytest.raises(CaptureError, match=r"Unsupported architecture: BertModel.*\nUse --backend hooks"), refused:
        pass


# Which tokens


def strictest_dtype(backend: str, family: str) -> torch.dtype:
    """Return float64, save with eager attention, which takes its softmax in float32 and so has no finite float64 mask."""
    eager = backend == "transformer-lens" or shared_model(family).config._attn_implementation == "eager"
    return torch.float32 if eager else torch.float64


@each_pair
def test_padding_side_is_irrelevant(opened, backend, family):
    dtype = strictest_dtype(backend, family)
    run, model = opened(backend, family, dtype), shared_model(family, dtype)
    ids, mask, positions = batch(model, "right")
    left_ids, left_mask, left_positions = batch(model, "left")
    right, left = run(TextInputs(ids, mask, positions)), run(TextInputs(left_ids, left_mask, left_positions))
    assert distance(left, right, left_mask, mask) < ROUNDING[dtype]
    assert distance(right, run(TextInputs(ids, mask)), mask) == 0


@each_pair
def test_a_sequence_does_not_depend_on_its_batch(opened, backend, family):
    dtype = strictest_dtype(backend, family)
    run, model = opened(backend, family, dtype), shared_model(family, dtype)
    ids, mask, _ = batch(model)
    together = run(TextInputs(ids, mask))
    for row, length in enumerate(LENGTHS):
        alone = run(TextInputs(ids[row : row + 1, :length], mask[row : row + 1, :length]))
        for stream, lone in zip(streams(together), streams(alone), strict=True):
            off = (stream[row, :length] - lone[0]).abs().max() / stream[mask == 1].abs().max()
            assert off < ROUNDING[dtype]


# How much runs


@pytest.mark.parametrize(("layers", "final_norm"), [((0,), False), ((DEPTH,), False), ((0, 3), False), ((2,), True)])
@each_pair
def test_only_what_is_needed_runs(opened, block_runs, kept_bridges, backend, family, layers, final_norm):
    model = shared_model(family)
    final_norm = final_norm and model.final_norm is not None
    ids, mask, _ = batch(model)
    everything = opened(backend, family)(TextInputs(ids, mask))
    with backend_for(backend, model).session(model, CaptureSpec(layers, final_norm)) as run, called_modules() as called:
        block_runs.clear()
        called.clear()
        states = run(TextInputs(ids, mask))
    assert_same_bits(
        states,
        BatchStates([everything.hidden[layer] for layer in layers], everything.final_norm if final_norm else None),
    )
    assert len(block_runs) == (DEPTH if final_norm else layers[-1])
    assert not any(is_head(module, model) for module in called)
    ran_norm = any(module is model.final_norm for module in called)
    assert ran_norm == (final_norm and backend != "transformer-lens")  # which runs the norm of its clone


def test_counting_sees_blocks_and_heads(block_runs):
    model = make_model("gpt2")
    block_runs.clear()
    with called_modules() as called:
        model.module(**model.inputs(*batch(model)[:2]))
    assert block_runs == model.blocks
    assert any(is_head(module, model) for module in called)


@each_pair
def test_no_gradients(opened, backend, family):
    model = shared_model(family)
    assert all(parameter.requires_grad for parameter in model.module.parameters())
    ids, mask, _ = batch(model)
    with torch.enable_grad():
        states = opened(backend, family)(TextInputs(ids, mask))
        assert torch.is_grad_enabled()
    assert not any(stream.requires_grad or stream.grad_fn for stream in streams(states))
    with torch.inference_mode():
        assert_same_bits(opened(backend, family)(TextInputs(ids, mask)), states)


@each_pair
def test_states_are_passed_on_in_the_order_of_the_model(opened, backend, family):
    model = make_model(family)
    ids, mask, _ = batch(model)
    wanted, received = every_state(model), {}
    with backend_for(backend, model).session(
        model, wanted, lambda key, stream: received.update({key: stream.clone()})
    ) as run:
        assert run(TextInputs(ids, mask)).hidden == []
        assert list(received) == wanted.keys
        states = BatchStates([received[layer] for layer in wanted.layers], received.get("final_norm"))
        assert_same_bits(states, opened(backend, family)(TextInputs(ids, mask)))
        received.clear()
        run(TextInputs(ids, mask))
    assert list(received) == wanted.keys


# What is left behind


class Trouble(Exception):
    pass


@each_pair
def test_the_model_is_left_as_it_was(opened, backend, family):
    model = make_model(family)
    model.module.train()
    model.blocks[1].eval()
    model.blocks[0].requires_grad_(False)
    ids, mask, _ = batch(model)
    before = snapshot(model)
    with backend_for(backend, model).session(model, every_state(model)) as run:
        states, again = run(TextInputs(ids, mask)), run(TextInputs(ids, mask))
    assert_as_it_was(model, before)
    assert_same_bits(states, again)
    # Dropout was off, though the model was in training.
    assert_same_bits(states, opened(backend, family)(TextInputs(ids, mask)))


@each_pair
def test_the_model_is_left_as_it_was_after_a_block_fails(backend, family):
    model = make_model(family)
    ids, mask, _ = batch(model)
    armed = []

    def fail(*_):
        if armed:
            raise Trouble

    model.blocks[2].register_forward_pre_hook(fail)
    before = snapshot(model)

    def fail_and_recover_and_fail():
        with backend_for(backend, model).session(model, every_state(model)) as run:
            expected = run(TextInputs(ids, mask))
            armed.append(True)
            with pytest.raises(Trouble):
                run(TextInputs(ids, mask))
            armed.clear()
            assert_same_bits(run(TextInputs(ids, mask)), expected)
            armed.append(True)
            run(TextInputs(ids, mask))

    with pytest.raises(Trouble):
        fail_and_recover_and_fail()
    assert_as_it_was(model, before)


@each_backend
def test_between_batches_the_model_runs_as_ever(backend):
    model = make_model("gpt2")
    ids, mask, _ = batch(model)
    expected = model.module(**model.inputs(ids, mask)).logits
    with backend_for(backend, model).session(model, CaptureSpec((0,))) as run:
        run(TextInputs(ids, mask))
        assert torch.equal(model.module(**model.inputs(ids, mask)).logits, expected)


@pytest.mark.parametrize("inner", BACKENDS)
@pytest.mark.parametrize("outer", BACKENDS)
def test_sessions_nest(outer, inner):
    model = make_model("bert")
    ids, mask, _ = batch(model)
    before = snapshot(model)
    with backend_for(outer, model).session(model, every_state(model)) as run_outer:
        expected = run_outer(TextInputs(ids, mask))
        with backend_for(inner, model).session(model, CaptureSpec((0, 2))) as run_inner:
            within = run_inner(TextInputs(ids, mask))
            assert_same_bits(run_outer(TextInputs(ids, mask)), expected)
            assert_same_bits(run_inner(TextInputs(ids, mask)), within)
        assert_same_bits(run_outer(TextInputs(ids, mask)), expected)
    assert_as_it_was(model, before)
    assert distance(within, BatchStates([expected.hidden[0], expected.hidden[2]]), mask) < ROUNDING[torch.float32]


@each_backend
def test_nothing_of_a_batch_outlives_it(opened, backend):
    run = opened(backend, "llama")
    ids, mask, _ = batch(shared_model("llama"))
    gc.disable()  # memory must not wait for the collector
    try:
        alive = [weakref.ref(stream) for stream in streams(run(TextInputs(ids, mask)))]
        assert not any(stream() is not None for stream in alive)
    finally:
        gc.enable()


# What is refused


@each_backend
def test_writing_into_a_kept_stream_is_refused(backend):
    model = make_model("llama")
    ids, mask, _ = batch(model)
    armed = []

    def write(_, args):
        if armed:
            args[0].mul_(2)

    model.blocks[2].register_forward_pre_hook(write)
    with backend_for(backend, model).session(model, every_state(model)) as run:
        expected = run(TextInputs(ids, mask))
        armed.append(True)
        with pytest.raises(CaptureError, match=r"^tiny-llama: state 2 was modified in place"):
            run(TextInputs(ids, mask))
        armed.clear()
        assert_same_bits(run(TextInputs(ids, mask)), expected)


def test_unknown_backend():
    with pytest.raises(UsageError, match="unknown backend 'nsight': did you mean 'nnsight'"):
        backend_for("nsight", shared_model("llama"))


@pytest.mark.parametrize(
    ("backend", "family"), [(name, family) for name in BACKENDS for family in FAMILIES if (name, family) not in PAIRS]
)
def test_a_family_not_declared_is_refused(backend, family):
    with pytest.raises(CaptureError) as error:
        backend_for(backend, shared_model(family))
    assert str(error.value) == (
        f"tiny-{family}: the {backend} backend does not support {family} models: use --backend hooks"
    )


def test_only_the_known_warning_of_nnsight_is_silenced(monkeypatch):
    def wrap(trunk):
        warnings.warn(
            "Module 'model' has a submodule named 'output', which nnsight already serves on every module. …",
            stacklevel=1,
        )
        warnings.warn("something else", stacklevel=1)

    monkeypatch.setattr(nnsight_backend, "NNsight", wrap)
    model = shared_model("llama")
    with (
        pytest.raises(UserWarning, match="something else"),
        nnsight_backend.NNsightBackend().session(model, CaptureSpec((0,))),
    ):
        pass


def test_a_record_loads_its_backend():
    record = BackendRecord("again", "layerscope.capturing.hooks", "HooksBackend", frozenset())
    assert type(record.load()).__name__ == "HooksBackend"
