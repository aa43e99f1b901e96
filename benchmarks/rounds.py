"""Compare contenders fairly on a noisy machine: each has its own process, and they take turns.

A contender is loaded once. Every round runs each of them once, in a new order. The comparison uses the ratio to the baseline
of the same round. Peak memory is that of the contender's process.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

Prepare = Callable[..., Callable[[], int]]
"""Loads the inputs of a contender and returns the function to time, which returns the bytes that it wrote."""


@dataclass
class Contender:
    """One way to do the job, in a separate process."""

    name: str
    prepare: Prepare
    arguments: tuple[object, ...]
    seconds: list[float] = field(default_factory=list)
    written: int = 0
    peak: int = 0

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.prepare, self.arguments), daemon=True)
        self._process.start()
        assert self._pipe.recv() == "ready", self.name

    def run(self, keep: bool) -> None:
        self._pipe.send("run")
        seconds, self.written, self.peak = self._pipe.recv()
        if keep:
            self.seconds.append(seconds)

    def stop(self) -> None:
        self._pipe.send("stop")
        self._process.join()


def _serve(pipe: Connection, prepare: Prepare, arguments: tuple[object, ...]) -> None:
    job = prepare(*arguments)
    pipe.send("ready")
    while pipe.recv() == "run":
        started = time.perf_counter()
        written = job()
        seconds = time.perf_counter() - started
        pipe.send((seconds, written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def compare(contenders: list[Contender], rounds: int) -> None:
    """Run all contenders `rounds` times after a warm-up and print a table of ratios to the first."""
    for contender in contenders:
        contender.start()
    for turn in range(rounds + 1):
        shift = turn % len(contenders)
        for contender in contenders[shift:] + contenders[:shift]:
            contender.run(keep=turn > 0)
    for contender in contenders:
        contender.stop()
    baseline = contenders[0]
    print(f"{'':42} {'ratio':>6} {'min':>6} {'max':>6} {'seconds':>8} {'peak MB':>8} {'MB written':>10}")
    for contender in contenders:
        ratios = [mine / its for mine, its in zip(contender.seconds, baseline.seconds, strict=True)]
        print(
            f"{contender.name:42} {statistics.median(ratios):6.3f} {min(ratios):6.3f} {max(ratios):6.3f} "
            f"{statistics.median(contender.seconds):8.2f} {contender.peak / 1e6:8.0f} {contender.written / 1e6:10.1f}"
        )
