"""Threads share the work of a pass: the result is that of one, and torch's own threads are left as they were."""

import os
import time
from threading import Thread

import numpy as np
import pytest
import torch
import xarray

from layerscope import threads as threads_module
from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.passes import engine, rows
from layerscope.threads import ThreadPool, thread_pool
from tests.measures.captures import capture, walk

LENGTHS = [90, 3, 200, 47, 60]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    threads = ThreadPool(3)
    for module in (engine, rows):
        monkeypatch.setattr(module, "thread_pool", lambda: threads)
    monkeypatch.setattr(rows, "_CHUNK_BYTES", 16 * 3 * 5 * 8)
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 1)
    return threads


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("other", [False, True], ids=["alone", "two captures"])
@pytest.mark.parametrize("bootstrap", [0, 4])
def test_shared_work_gives_the_same(monkeypatch: pytest.MonkeyPatch, other: bool, bootstrap: int):
    states = walk(sum(LENGTHS), 3, 5)
    states[5, 1, 2] = 4e3
    whole = capture(states, LENGTHS)
    taken: list[int] = []
    take = engine._take
    monkeypatch.setattr(engine, "_take", lambda *args: (taken.append(1), take(*args)))
    found = analyze(whole, whole if other else None, measures=MEASURES, bootstrap=bootstrap)
    assert len(taken) >= 6  # two blocks, three threads
    monkeypatch.setattr(engine, "thread_pool", lambda: ThreadPool(1))
    expected = analyze(whole, whole if other else None, measures=MEASURES, bootstrap=bootstrap)
    xarray.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    for name, value in expected.attrs.items():
        assert found.attrs[name] == pytest.approx(value), name


@pytest.mark.usefixtures("three")
def test_what_a_thread_refuses_is_refused():
    states = walk(sum(LENGTHS), 3, 5)
    states[321, 2, 1] = np.nan
    with pytest.raises(MeasureError, match="row 321"):
        analyze(capture(states, LENGTHS))


@pytest.mark.usefixtures("three")
def test_sums_too_large_for_the_memory_are_not_multiplied(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "_take", None)  # not to be called
    analyze(capture(walk(sum(LENGTHS), 3, 5), LENGTHS), measures=["cosine"], memory="5KB")


def test_each_thread_computes_alone_and_nobody_else_is_changed():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = ThreadPool(2)
        assert [threads.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
        assert threads.submit_read(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 3
        seen: list[int] = []
        later = Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [3]
    finally:
        torch.set_num_threads(before)


def test_items_are_shared_and_a_failure_ends_it():
    threads = ThreadPool(2)
    assert threads.map(lambda item: item**2, range(9)) == [item**2 for item in range(9)]
    begun: list[int] = []

    def fail(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        threads.map(fail, range(100))
    assert len(begun) < 10


def test_one_pool_per_process(monkeypatch: pytest.MonkeyPatch):
    mine = thread_pool()
    assert thread_pool() is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as after a fork, which takes no threads along
    assert thread_pool() is not mine
    assert threads_module.thread_pool().size == mine.size
