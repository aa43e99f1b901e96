"""SIGKILL at any moment: what was committed is there, and the resumed file is the undisturbed one, byte by byte."""

import filecmp
import random
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerscope.errors import CaptureError
from layerscope.store.header import read_header
from layerscope.store.target import CaptureTarget
from tests.store.processes import (
    CONTEXT,
    batches,
    capture,
    final_states,
    hidden_states,
    killed,
    lay_out_again_and_again,
)


def rounded(numbers: torch.Tensor) -> np.ndarray:
    return numbers.to(torch.bfloat16).float().numpy()


def test_killed_again_and_again_then_resumed(tmp_path: Path) -> None:
    path, undisturbed = tmp_path / "run.h5", tmp_path / "undisturbed.h5"
    capture(undisturbed)
    hidden, final, plan = rounded(hidden_states()), rounded(final_states()), np.concatenate(batches())
    clock, committed = random.Random(0), 0
    for _ in range(5):
        assert killed(capture, path, committed, clock.uniform(0, 0.02), 0.01) == -signal.SIGKILL
        header = read_header(path)
        assert not header.complete
        assert header.committed_rows > committed, "it went on where it had been"
        committed = header.committed_rows
        with h5py.File(path) as file:
            done = plan[:committed]
            assert np.array_equal(file["hidden"][...][done], hidden[done])
            assert np.array_equal(file["final_norm"][...][done], final[done])
            assert file["token_id"][-1] == 6127
    capture(path)
    assert read_header(path).complete
    assert filecmp.cmp(path, undisturbed, shallow=False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.h5", "undisturbed.h5"]


def test_killed_while_the_file_is_laid_out(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    clock = random.Random(1)
    for _ in range(4):
        path.unlink(missing_ok=True)
        assert killed(lay_out_again_and_again, path, -1, clock.uniform(0, 0.05)) == -signal.SIGKILL
        header = read_header(path)
        assert (header.complete, header.committed_rows) == (False, 0)
    capture(path)
    assert read_header(path).complete


def test_a_second_process_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    process = CONTEXT.Process(target=capture, args=(path, 0.01))
    process.start()
    while not path.exists():
        assert process.is_alive()
    with pytest.raises(CaptureError, match="another capture is writing"), CaptureTarget(path):
        pass
    assert not read_header(path).complete, "what it says of itself can be read while it is written"
    process.join()
    assert process.exitcode == 0
    assert read_header(path).complete
