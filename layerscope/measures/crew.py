"""Threads that share the work of a pass, each computing by itself.

The products of a chunk are many small pieces of work. Divided inside each of them, as torch does by itself, the threads wait
for each other more than they work; here each thread takes some tokens from beginning to end. This module knows no measure.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cache, partial
from typing import TypeVar

import torch

from layerscope.threads import lone_threads

__all__ = ["Crew", "crew"]

_MOST = 8
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Crew:
    """Some threads, in each of which torch computes without further threads.

    Parameters
    ----------
    size
        How many work at once, beside the one that reads.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers = lone_threads(size, "layerscope")
        self._reader = lone_threads(1, "layerscope-reading")

    def work(self, job: Callable[[], _Result]) -> "Future[_Result]":
        """Let a thread do a piece of work."""
        return self._workers.submit(job)

    def each(self, compute: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Compute something of each item, in whichever thread is free; what is not begun when one fails is left.

        Small decompositions gain nothing from being divided, and lose much where other programs run: a thread of the library that
        has to wait for its turn keeps all the others waiting.
        """
        jobs = [self.work(partial(compute, item)) for item in items]
        try:
            return [job.result() for job in jobs]
        finally:
            for job in jobs:
                job.cancel()

    def read(self, job: Callable[[], _Result]) -> "Future[_Result]":
        """Let the reading thread do a piece of work."""
        return self._reader.submit(job)


def crew() -> Crew:
    """Return the threads of this process, as many as torch would use, at most eight."""
    return _crew(os.getpid(), min(torch.get_num_threads(), _MOST))


@cache
def _crew(process: int, size: int) -> Crew:
    # A process made by a fork has none of its parent's threads, so it must not find its parent's crew.
    return Crew(size)
