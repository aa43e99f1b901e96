import filecmp
import os
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerscope.errors import CaptureError, FileError
from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.opening import open_source
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from tests.store.captures import ATTRIBUTES, SETTINGS, fill, layout, rows_of, states, write_capture

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def stored_bits(path: Path, name: str) -> np.ndarray:
    """Read the file's own bits without LayerScope."""
    with h5py.File(path) as file:
        dataset = file[name]
        own = dataset.id.get_type()
        bits = np.empty(dataset.shape, {2: np.uint16, 4: np.uint32}[own.get_size()])
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, bits, mtype=own)
    return bits


def bits_of(numbers: torch.Tensor) -> np.ndarray:
    size = {2: torch.int16, 4: torch.int32}[numbers.dtype.itemsize]
    return numbers.contiguous().view(size).numpy().view({2: np.uint16, 4: np.uint32}[numbers.dtype.itemsize])


def awkward(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Ties between neighbours, subnormals, signed zeros, and numbers that just still fit, among ordinary ones."""
    numbers = torch.randn(shape)
    largest = torch.finfo(dtype).max
    special = [1.00390625, 1.01171875, -1.00390625, 1.00048828125, 1e-40, -1e-45, 6e-8, -0.0, 0.0, largest, -largest]
    if dtype == torch.bfloat16:
        special += [3.3895313892515355e38 * (1 + 2**-10)]  # less than half a step above the largest: rounds down to it
    if dtype == torch.float16:
        special += [65519.0, -65519.0]
    numbers.view(-1)[: len(special)] = torch.tensor(special, dtype=torch.float64).to(torch.float32)
    return numbers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 255, 256, 600])
def test_rows_are_stored_bit_by_bit_as_torch_rounds_them(tmp_path: Path, dtype: torch.dtype, tokens: int) -> None:
    of = layout(dtype=dtype, final_norm=True)
    hidden, final = awkward(dtype, (tokens, 3, 5)), awkward(dtype, (max(tokens, 3), 5))[:tokens]
    batches = np.array_split(np.random.default_rng(0).permutation(tokens), 5)
    path = write_capture(tmp_path / "run.h5", hidden, of, batches=batches, final=final)
    assert np.array_equal(stored_bits(path, "hidden"), bits_of(hidden.to(dtype)))
    assert np.array_equal(stored_bits(path, "final_norm"), bits_of(final.to(dtype)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=9), cuts=st.integers(1, 12), seed=st.integers(0, 9))
def test_any_order_and_any_batches_give_the_same_file(tmp_path: Path, lengths: list[int], cuts: int, seed: int) -> None:
    of, tokens = layout(layers=2, width=3), sum(lengths)
    hidden = states(tokens, of)
    runs = np.split(np.arange(tokens), np.cumsum(lengths)[:-1])
    shuffled = np.concatenate([runs[each] for each in np.random.default_rng(seed).permutation(len(runs))])
    scattered = write_capture(
        tmp_path / "scattered.h5", hidden, of, lengths=lengths, batches=np.array_split(shuffled, cuts)
    )
    straight = write_capture(tmp_path / "straight.h5", hidden, of, lengths=lengths)
    assert filecmp.cmp(scattered, straight, shallow=False)
    assert np.array_equal(stored_bits(scattered, "hidden"), bits_of(hidden.to(torch.bfloat16)))


def test_states_in_another_dtype_or_not_contiguous_or_with_gradients_are_taken(tmp_path: Path) -> None:
    of = layout(dtype=torch.float32)
    hidden = states(40, of)
    with torch.inference_mode():
        given_half = hidden.to(torch.bfloat16)
    turned = hidden.permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    for number, given_states in enumerate((given_half, turned)):
        path = write_capture(tmp_path / f"{number}.h5", given_states, of)
        assert np.array_equal(stored_bits(path, "hidden"), bits_of(given_states.detach().float()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradients", [False, True])
def test_states_that_lie_layer_by_layer_are_stored_just_the_same(
    tmp_path: Path, dtype: torch.dtype, gradients: bool
) -> None:
    of = layout(dtype=dtype, final_norm=True)
    hidden, final = states(300, of).to(dtype), torch.randn(300, 5)
    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        fill(index, [300])
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            for batch in (np.arange(7, 300), np.arange(7)):
                rows = rows_of(index, hidden, batch, final)
                by_layer = rows.hidden.transpose(0, 1).contiguous()
                taken = by_layer.clone()
                writer.update(replace(rows, hidden=by_layer.requires_grad_(gradients).transpose(0, 1)))
                assert torch.equal(by_layer, taken), "what was given is not written to"
            writer.finish()
    assert np.array_equal(stored_bits(tmp_path / "run.h5", "hidden"), bits_of(hidden))
    assert np.array_equal(stored_bits(tmp_path / "run.h5", "final_norm"), bits_of(final.to(dtype)))


def test_a_huge_width_is_stored_in_chunks_of_fewer_tokens(tmp_path: Path) -> None:
    of = layout(layers=2, width=20_000, dtype=torch.float32)
    hidden = states(60, of)
    path = write_capture(tmp_path / "wide.h5", hidden, of)
    with h5py.File(path) as file:
        assert file["hidden"].chunks == (52, 1, 20_000)
    assert np.array_equal(stored_bits(path, "hidden"), bits_of(hidden))


def test_the_file_says_it_is_unfinished_until_it_is_finished(tmp_path: Path) -> None:
    of = layout()
    hidden = states(30, of)
    path = tmp_path / "run.h5"
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [30])
        assert not path.exists()
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            assert (read_header(path).complete, read_header(path).committed_rows) == (False, 0)
            writer.update(rows_of(index, hidden, np.arange(20)))
            assert read_header(path).committed_rows == 0
            writer.commit()
            assert (read_header(path).complete, read_header(path).committed_rows) == (False, 20)
            writer.update(rows_of(index, hidden, np.arange(20, 30)))
            writer.finish()
            writer.close()  # closing twice is harmless
    header = read_header(path)
    assert (header.complete, header.committed_rows, header.fraction) == (True, 30, 1.0)
    assert header.settings == SETTINGS
    assert header.attributes == {**ATTRIBUTES, "complete": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.h5"]


def test_a_finished_file_is_the_same_to_the_byte_after_interruptions(tmp_path: Path) -> None:
    of = layout(final_norm=True)
    hidden, final = states(700, of), torch.randn(700, 5)
    batches = np.array_split(np.random.default_rng(1).permutation(700), 8)
    undisturbed = write_capture(tmp_path / "whole.h5", hidden, of, batches=batches, final=final)
    path = write_capture(tmp_path / "parts.h5", hidden, of, batches=batches[:3], final=final, finish=False)
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [700])
        with CaptureWriter.resume(target, index) as writer:
            assert writer.committed_rows == sum(map(len, batches[:3]))
            assert (writer.settings, writer.layout) == (SETTINGS, of)
            # Rows that were written but not committed when it died are written again, with whatever was there gone.
            writer.update(rows_of(index, hidden + 1, batches[3], final))
        with CaptureWriter.resume(target, index) as writer:
            for batch in batches[3:]:
                writer.update(rows_of(index, hidden, batch, final))
            writer.finish()
    assert filecmp.cmp(path, undisturbed, shallow=False)


def test_a_complete_file_cannot_be_resumed(tmp_path: Path) -> None:
    of = layout()
    path = write_capture(tmp_path / "run.h5", states(5, of), of)
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [5])
        with pytest.raises(CaptureError, match="is already complete"):
            CaptureWriter.resume(target, index)


def test_missing_and_repeated_rows_are_found_out(tmp_path: Path) -> None:
    of = layout()
    hidden = states(10, of)
    for batches in ([np.arange(9)], [np.arange(9), np.array([3])]):
        path = tmp_path / f"{len(batches)}.h5"
        with pytest.raises(CaptureError, match=r"rows were written for 10, or some twice\ncapture it again"):
            write_capture(path, hidden, of, batches=batches)
        assert not read_header(path).complete


@pytest.mark.parametrize("name", ["sequence_index", "position", "token_id"])
def test_rows_that_are_not_what_the_file_expects_are_refused(tmp_path: Path, name: str) -> None:
    of = layout()
    hidden = states(10, of)
    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        fill(index, [6, 4])
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            rows = rows_of(index, hidden, np.array([2, 7]))
            getattr(rows, name)[1] += 1
            expected = {"sequence_index": 1, "position": 1, "token_id": 1001}[name]
            with pytest.raises(CaptureError, match=rf"row 7 of .*run.h5 has {name} {expected}, got {expected + 1}\n"):
                writer.update(rows)


def test_states_that_do_not_fit_stop_the_capture_and_are_named(tmp_path: Path) -> None:
    of = layout(dtype=torch.float16, final_norm=True)
    hidden, final = states(10, of), torch.zeros(10, 5)
    hidden[7, 2, 4] = 1.2e5
    path = tmp_path / "run.h5"
    message = (
        "1.2e+05 does not fit float16 (largest 65504): layer block.1, sequence 'text 1 ß', position 1 (token id 1001)"
    )
    with pytest.raises(CaptureError, match=re.escape(message + "\nuse --store-dtype bfloat16")):
        write_capture(path, hidden, of, lengths=[6, 4], final=final)
    assert not read_header(path).complete
    final[8, 0] = float("nan")
    hidden[7, 2, 4] = 0
    with pytest.raises(
        CaptureError, match=re.escape("NaN in the states: layer final_norm, sequence 'text 1 ß', position 2")
    ):
        write_capture(path, hidden, of, lengths=[6, 4], final=final)
    assert (read_header(path).complete, read_header(path).committed_rows) == (False, 0)


def test_final_norm_is_neither_forgotten_nor_taken_unasked(tmp_path: Path) -> None:
    for wanted, final in ((True, None), (False, torch.zeros(10, 5))):
        of = layout(final_norm=wanted)
        with pytest.raises(ValueError, match="final_norm is"):
            write_capture(tmp_path / "run.h5", states(10, of), of, final=final)


def test_a_closed_writer_writes_nothing(tmp_path: Path) -> None:
    of = layout()
    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        fill(index, [10])
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            pass
        with pytest.raises(ValueError, match=r"run\.h5 is closed"):
            writer.update(rows_of(index, states(10, of), np.arange(10)))


def test_texts_without_tokens_and_wrong_attributes_leave_nothing(tmp_path: Path) -> None:
    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        with pytest.raises(CaptureError, match="no tokens to store"):
            CaptureWriter.create(target, layout(), index, ATTRIBUTES, SETTINGS)
        fill(index, [3])
        other = {name: value for name, value in ATTRIBUTES.items() if name != "backend"} | {"speed": 1}
        with pytest.raises(ValueError, match="'backend', 'speed'"):
            CaptureWriter.create(target, layout(), index, other, SETTINGS)
        with pytest.raises(TypeError, match="attribute 'model' is NoneType"):
            CaptureWriter.create(target, layout(), index, {**ATTRIBUTES, "model": None}, SETTINGS)  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


def test_only_the_last_token_stored_of_texts_run_whole(tmp_path: Path) -> None:
    of = layout()
    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        fill(index, [6, 1, 4], keep_last=True)
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            writer.update(rows_of(index, states(3, of), np.arange(3)))
            writer.finish()
    with open_source(tmp_path / "run.h5") as source:
        assert source.sequence_index.tolist() == [0, 1, 2]
        assert source.position.tolist() == [5, 0, 3]
        assert source.token_id.tolist() == [5, 1000, 2003]
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["sequence_length"][...].tolist() == [6, 1, 4]


def test_a_disk_that_takes_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, content, offset: whole(file, content.cast("B")[:7], offset))
    of = layout()
    hidden = states(300, of)
    path = write_capture(tmp_path / "run.h5", hidden, of)
    assert np.array_equal(stored_bits(path, "hidden"), bits_of(hidden.to(torch.bfloat16)))


def test_a_file_that_is_not_laid_out_for_rows_cannot_be_resumed(tmp_path: Path) -> None:
    of = layout(dtype=torch.float32)
    path = write_capture(tmp_path / "run.h5", states(10, of), of, finish=False)
    with h5py.File(path, "r+") as file:
        packed = file["hidden"][...]
        del file["hidden"]
        file.create_dataset("hidden", data=packed, compression="gzip")
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [10])
        with pytest.raises(FileError, match=r"its states are not where they were laid out\ncapture it again"):
            CaptureWriter.resume(target, index)
