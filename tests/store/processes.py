"""Captures in processes of their own, to be killed.

A fork server has torch and h5py loaded, so that a process costs milliseconds.
"""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from tests.store.captures import ATTRIBUTES, SETTINGS, fill, layout, rows_of, states

LENGTHS = [37, 512, 3, 250, 41, 600, 128]
LAYOUT = layout(layers=4, width=64, final_norm=True)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.store.processes"])


def hidden_states() -> Any:
    return states(sum(LENGTHS), LAYOUT)


def final_states() -> Any:
    return states(sum(LENGTHS), LAYOUT, seed=1)[:, 0]


def batches() -> list[np.ndarray]:
    """The plan every capture here follows."""
    return np.array_split(np.random.default_rng(3).permutation(sum(LENGTHS)), 60)


def capture(path: Path, pause: float = 0.0) -> None:
    """Begin a capture, or go on with one, to its end."""
    hidden, final = hidden_states(), final_states()
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, LENGTHS)
        with (
            CaptureWriter.resume(target, index)
            if path.exists()
            else CaptureWriter.create(target, LAYOUT, index, ATTRIBUTES, SETTINGS)
        ) as writer:
            rows = 0
            for batch in batches():
                rows += len(batch)
                if rows > writer.committed_rows:
                    writer.update(rows_of(index, hidden, batch, final))
                    time.sleep(pause)
                    writer.commit()
            writer.finish()


def lay_out_again_and_again(path: Path) -> None:
    """Begin captures one after another, each in place of the one before."""
    while True:
        with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
            fill(index, LENGTHS)
            CaptureWriter.create(target, LAYOUT, index, ATTRIBUTES, SETTINGS).close()


def _hold(path: Path, ready: Any) -> None:
    with CaptureTarget(path) as target:
        target.temporary.touch()
        ready.set()
        time.sleep(60)


def killed_holding(path: Path) -> None:
    """Kill a process that holds the lock and has begun to lay a file out."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=_hold, args=(path, ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()


def killed(work: Callable[..., None], path: Path, more_than: int, after: float, *arguments: Any) -> int:
    """Kill a process some time after its file has more than so many committed rows; return how it ended."""
    process = CONTEXT.Process(target=work, args=(path, *arguments))
    process.start()
    while process.is_alive() and not (path.exists() and read_header(path).committed_rows > more_than):
        time.sleep(0.005)
    time.sleep(after)
    process.kill()
    process.join()
    return process.exitcode or 0
