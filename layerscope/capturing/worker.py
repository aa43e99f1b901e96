"""One thread that hands rows to the sinks while the model computes the next batch.

The queue holds one item, so memory stays flat: at most one batch is being taken, one waits, one is being computed.
"""

from collections.abc import Callable
from queue import Queue
from types import TracebackType
from typing import Generic, TypeVar

from layerscope.threads import single_threaded_workers

__all__ = ["Worker"]

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `take` on each item in a thread of its own, in order.

    An exception in `take` is raised again in the thread that puts, at the next `put` or at the end.

    Examples
    --------
    >>> seen = []
    >>> with Worker(seen.append) as worker:
    ...     worker.put(1)
    ...     worker.put(2)
    >>> seen
    [1, 2]
    """

    def __init__(self, take: Callable[[Item], None]) -> None:
        self._take = take
        self._queue: Queue[Item | None] = Queue(maxsize=1)
        self._failure: BaseException | None = None
        self._thread = single_threaded_workers(1, "layerscope-sinks")

    def put(self, item: Item) -> None:
        """Hand over an item, waiting while another one is still in line."""
        self._queue.put(item)
        self._raise()

    def __enter__(self) -> "Worker[Item]":
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
                    self._take(item)
                except BaseException as failure:  # kept for the thread that waits for it
                    self._failure = failure

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
