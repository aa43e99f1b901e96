"""Thread pools in which torch computes with one thread per worker.

By default torch starts a team of threads inside every thread that computes, and the teams of several threads spend most of their
time waiting for each other. Here each worker uses one thread, and the work is divided between the workers.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from queue import Queue
from threading import Barrier
from types import TracebackType
from typing import Generic, TypeVar

import torch

__all__ = ["BackgroundConsumer", "ThreadPool", "single_threaded_workers", "surrounded", "thread_pool"]

_MOST = 8
_Contexts = tuple[Callable[[], AbstractContextManager[object]], ...]
_SURROUNDING: ContextVar[_Contexts] = ContextVar("surrounding", default=())
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ThreadPool:
    """Worker threads for computation, and one thread for reading.

    Parameters
    ----------
    size
        Number of workers, not counting the reading thread.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers = single_threaded_workers(size, "layerscope")
        self._reader = single_threaded_workers(1, "layerscope-reading")

    def submit(self, job: Callable[[], _Result]) -> "Future[_Result]":
        """Run a job in a worker, inside the contexts of `surrounded`."""
        return self._workers.submit(partial(_run_inside, _SURROUNDING.get(), job))

    def map(self, compute: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Call a function with each item, in any free worker; cancel the jobs not yet started when one fails.

        Small decompositions gain nothing from more threads. On a busy machine they lose much: when one thread of the library
        waits for a core, all its other threads wait too.
        """
        jobs = [self.submit(partial(compute, item)) for item in items]
        try:
            return [job.result() for job in jobs]
        finally:
            for job in jobs:
                job.cancel()

    def submit_read(self, job: Callable[[], _Result]) -> "Future[_Result]":
        """Run a job in the reading thread."""
        return self._reader.submit(job)


class BackgroundConsumer(Generic[_Item]):
    """Call a function on each item in a background thread, in order.

    The queue has room for one item, so memory stays bounded: one item is being consumed, one waits, and the caller makes the
    next. An exception of the function is raised in the calling thread, at the next `put` or at the end.

    Parameters
    ----------
    consume
        Called with each item.
    name
        Name of the thread.

    Examples
    --------
    >>> seen = []
    >>> with BackgroundConsumer(seen.append, "example") as consumer:
    ...     consumer.put(1)
    ...     consumer.put(2)
    >>> seen
    [1, 2]
    """

    def __init__(self, consume: Callable[[_Item], None], name: str) -> None:
        self._consume = consume
        self._queue: Queue[_Item | None] = Queue(maxsize=1)
        self._failure: BaseException | None = None
        self._thread = single_threaded_workers(1, name)

    def put(self, item: _Item) -> None:
        """Add an item to the queue, waiting until there is room."""
        self._queue.put(item)
        self._raise()

    def __enter__(self) -> "BackgroundConsumer[_Item]":
        self._thread.submit(self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.shutdown()
        if error is None:
            self._raise()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._consume(item)
                except BaseException as failure:  # raised again in the calling thread
                    self._failure = failure

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


@contextmanager
def surrounded(context: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Enter a context of this thread, such as a mode of torch, here and in the jobs that this thread submits to workers.

    Examples
    --------
    >>> with surrounded(torch.no_grad):
    ...     torch.is_grad_enabled(), thread_pool().submit(torch.is_grad_enabled).result()
    (False, False)
    """
    outer = _SURROUNDING.set((*_SURROUNDING.get(), context))
    try:
        with context():
            yield
    finally:
        _SURROUNDING.reset(outer)


def _run_inside(contexts: _Contexts, job: Callable[[], _Result]) -> _Result:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(surrounded(context))
        return job()


def thread_pool() -> ThreadPool:
    """Return the thread pool of this process, with as many workers as torch would use threads, at most eight."""
    return _pool_of(os.getpid(), min(torch.get_num_threads(), _MOST))


def single_threaded_workers(size: int, name: str) -> ThreadPoolExecutor:
    """Start threads in each of which torch computes with one thread; the calling thread keeps its number of threads.

    Examples
    --------
    >>> with single_threaded_workers(2, "example") as workers:
    ...     workers.submit(torch.get_num_threads).result()
    1
    """
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, name, _use_one_thread)
    # Threads start with their first job: each job waits for the others, so that every thread starts.
    barrier = Barrier(size)
    for waiting in [pool.submit(barrier.wait) for _ in range(size)]:
        waiting.result()
    # torch applies the number that the workers set to all later threads of the process, too: restore it.
    torch.set_num_threads(own)
    return pool


def _use_one_thread() -> None:
    # Reading the number first makes torch remember that this thread has one; otherwise it discards the new number.
    torch.get_num_threads()
    torch.set_num_threads(1)


@cache
def _pool_of(process: int, size: int) -> ThreadPool:
    # A forked process loses its parent's threads, so it must not use its parent's pool.
    return ThreadPool(size)
