"""Threads beside the one that drives the model or the analysis, in each of which torch computes without further threads.

Torch gives every thread that computes a team of its own, and the teams of several threads wait for each other more than they
work. This module knows nothing of what the threads do.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

__all__ = ["lone_threads"]


def lone_threads(size: int, name: str) -> ThreadPoolExecutor:
    """Start threads in each of which torch computes alone; the caller's own thread keeps its number.

    Examples
    --------
    >>> with lone_threads(2, "example") as threads:
    ...     threads.submit(torch.get_num_threads).result()
    1
    """
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, name, _alone)
    # The threads start with their first work: each is given some that waits for the others.
    together = Barrier(size)
    for waiting in [pool.submit(together.wait) for _ in range(size)]:
        waiting.result()
    # What the threads set for themselves torch takes for anybody's later threads, too: put it back.
    torch.set_num_threads(own)
    return pool


def _alone() -> None:
    # Asked for its threads first, torch takes note that this thread has its number; it would else forget it again.
    torch.get_num_threads()
    torch.set_num_threads(1)
