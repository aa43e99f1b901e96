"""Rows gathered while a model runs equal those taken from the whole states afterwards."""

import itertools
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import layerscope as ls
from layerscope.capturing.batch_rows import BatchRows
from layerscope.capturing.gathering import Gatherer
from layerscope.capturing.hooks import HooksBackend
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import CaptureError
from layerscope.models.loading import wrap_module
from layerscope.states import MEAN
from layerscope.store.finite import storable
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

LENGTHS = [7, 5, 5, 2]
SPEC = CaptureSpec((0, 2), final_norm=True, blocks=(1,), streams=("attn", "mlp"))


def batch(select):
    """Return four sequences of these lengths; the last of the batch is the first of the input."""
    positions = [np.asarray(select(length), np.int64) for length in LENGTHS]
    counts = [len(one) for one in positions]
    input_order = [3, 1, 0, 2]
    first = np.zeros(4, np.int64)
    first[input_order] = np.cumsum([0, *(counts[line] for line in input_order[:-1])])
    ids = [np.arange(length) + 10 * line for line, length in enumerate(LENGTHS)]
    return BatchRows(np.array([2, 1, 3, 0]), ids, positions, first)


def states(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(4, 7, 3, generator=generator).to(dtype) for key in SPEC.keys}


def gathered(gatherer, whole, of, cuts=(0, 4)):
    gatherer.begin(of)
    for start, stop in itertools.pairwise(cuts):
        part = of.part(start, stop)
        gatherer.run(part)
        for key, stream in whole.items():
            lines = stream[start:stop, : max(map(len, part.token_ids))]
            gatherer.take(key, lines.flatten(0, 1) if isinstance(key, tuple) else lines)
        gatherer.done()
    return gatherer.end()


def expected(whole, of):
    """Return by row number the line, the position, and the states, taken one by one."""
    found = {}
    for line, positions in enumerate(of.positions):
        for number, position in enumerate(positions):
            real = slice(0, LENGTHS[line]) if position == MEAN else slice(position, position + 1)
            taken = {key: stream[line, real].double().mean(0).float() for key, stream in whole.items()}
            found[int(of.first_row[line]) + number] = line, position, taken
    return found


@pytest.mark.parametrize("cuts", [(0, 4), (0, 1, 4), (0, 2, 3, 4)])
@pytest.mark.parametrize(
    "select",
    [np.arange, lambda n: [n - 1], lambda n: [MEAN], lambda n: [0, 4] if n > 4 else []],
    ids=["all", "last", "mean", "some"],
)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_rows_are_those_of_the_whole_states(select, cuts, dtype):
    of, whole = batch(select), states()
    got = gathered(Gatherer(SPEC, dtype), whole, of, cuts)
    assert got.wait()
    rows, wanted = got.rows(), expected(whole, of)
    assert sorted(rows.row.tolist()) == sorted(wanted)
    assert rows.checked == rows.hidden.dtype == (dtype or torch.float32)
    for at, row in enumerate(rows.row):
        line, position, taken = wanted[row]
        assert (rows.sequence_index[at], rows.position[at]) == (of.sequences[line], position)
        assert rows.token_id[at] == (MEAN if position == MEAN else of.token_ids[line][position])
        here = {0: rows.hidden[at, 0], 2: rows.hidden[at, 1], "final_norm": rows.final_norm[at]}
        here |= {("attn", 1): rows.attn_out[at, 0], ("mlp", 1): rows.mlp_out[at, 0]}
        for key, state in taken.items():
            torch.testing.assert_close(here[key], state.to(here[key].dtype), rtol=0, atol=0)


def test_a_batch_stays_until_it_is_released():
    gatherer = Gatherer(SPEC)
    of, first, second = batch(np.arange), states(), {key: -stream for key, stream in states().items()}
    one, two = gathered(gatherer, first, of), gathered(gatherer, second, of)
    kept = one.rows().hidden.clone()
    torch.testing.assert_close(kept, -two.rows().hidden)
    memory = one.states.data_ptr()
    gatherer.release(one)
    assert gathered(gatherer, second, of).states.data_ptr() == memory
    fresh = Gatherer(SPEC, reuse=False)
    one, two = gathered(fresh, first, of), gathered(fresh, first, of)
    fresh.release(one)
    gathered(fresh, second, of)
    assert torch.equal(one.rows().hidden, kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_noticed_in_any_state(value):
    for key in SPEC.keys:
        whole = states()
        whole[key][1, 3, 2] = value
        assert not gathered(Gatherer(SPEC), whole, batch(np.arange)).wait()
    whole[key][1, 3, 2], whole[key][3, 5, 0] = 0.0, value  # in the padding
    assert gathered(Gatherer(SPEC), whole, batch(np.arange)).wait()


def test_what_a_smaller_type_cannot_hold_is_noticed():
    def holds(value, dtype):
        row = torch.tensor([[0.0, value], [1.0, 1.0]])
        return bool(storable(row, row.to(dtype)))

    assert [holds(value, torch.float16) for value in (1e5, 1e-6, 0.0, 6.2e-5)] == [False, False, True, True]
    assert [holds(value, torch.bfloat16) for value in (1e5, 1e-6)] == [True, True]


# Running out of memory


@pytest.fixture(scope="module")
def model():
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")


def limited(patch, most):
    """Let the model fail as a device of little memory does."""
    whole = HooksBackend.session

    @contextmanager
    def session(self, model, spec, receive=None):
        with whole(self, model, spec, receive) as run:

            def checked(inputs):
                if inputs.input_ids.numel() > most:
                    raise torch.OutOfMemoryError("out of memory")
                return run(inputs)

            yield checked

    patch.setattr(HooksBackend, "session", session)


TEXTS = [" ".join(f"w{word % 9}" for word in range(length)) for length in (6, 3, 6, 5, 4, 6, 2, 6, 6)]


def test_a_capture_that_runs_out_of_memory_goes_on_with_smaller_batches(model, tmp_path, monkeypatch):
    ls.capture(model, TEXTS, tmp_path / "whole.h5", batch_tokens=30)
    limited(monkeypatch, most=13)
    with pytest.warns(UserWarning, match="cpu ran out of memory with 30 tokens; continuing with 12 at once") as warned:
        ls.capture(model, TEXTS, tmp_path / "parts.h5", batch_tokens=30)
    assert len(warned) == 1
    with ls.open_capture(tmp_path / "whole.h5") as whole, ls.open_capture(tmp_path / "parts.h5") as parts:
        np.testing.assert_allclose(parts.hidden, whole.hidden, rtol=1e-5, atol=1e-6)
        for name in ("sequence_index", "position", "token_id"):
            np.testing.assert_array_equal(parts[name], whole[name])


def test_a_text_that_does_not_fit_is_refused_and_the_capture_resumes(model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limited(patch, most=5)
        with pytest.raises(CaptureError, match="tiny: a text of 6 tokens does not fit the memory of cpu\ngive a lower"):
            ls.capture(model, TEXTS, tmp_path / "run.h5", batch_tokens=30)
    ls.capture(model, TEXTS, tmp_path / "run.h5", batch_tokens=30, resume=True)
    assert ls.open_capture(tmp_path / "run.h5").attrs["complete"] == 1


def test_a_state_that_vanishes_in_float16_is_refused(tmp_path):
    module = tiny_module("llama")
    with torch.no_grad():
        module.get_input_embeddings().weight.mul_(1e-9)
    small = wrap_module(module, word_tokenizer(), name="tiny")
    with pytest.raises(CaptureError, match=r"below the normal numbers of float16 .*: layer embedding, sequence '0'"):
        ls.capture(small, TEXTS, tmp_path / "run.h5", store_dtype="float16")
    ls.capture(small, TEXTS, tmp_path / "run.h5", store_dtype="bfloat16", overwrite=True)
