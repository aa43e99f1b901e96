"""Compare contenders that share one model in memory: they take turns in one process.

Times are those of the host's clock between two points at which the device has no work left. Events of CUDA would not do: they
see one stream, and a capture copies states to the host on another one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from table import Row, ratios

Job = Callable[[], object]


@dataclass
class Times:
    """Seconds of a contender, round by round, and the most memory of the device that it took."""

    seconds: list[float] = field(default_factory=list)
    peak: int | None = None


def wait(device: torch.device) -> None:
    """Wait until the device has finished all its work, on all streams."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(job: Job, device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    job()
    wait(device)
    return time.perf_counter() - started


def take_turns(jobs: Mapping[str, Job], rounds: int, device: torch.device) -> dict[str, Times]:
    """Run every job once a round, in a new order each round, after a round to warm up."""
    times = {name: Times() for name in jobs}
    names = list(jobs)
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            took = seconds(jobs[name], device)
            if device.type == "cuda":
                times[name].peak = max(times[name].peak or 0, torch.cuda.max_memory_allocated(device))
            if turn:
                times[name].seconds.append(took)
    return times


def against(baseline: str, times: Mapping[str, Times], aims: Mapping[str, str] | None = None) -> list[Row]:
    """Return the time of each contender over that of the baseline in the same round."""
    return [
        Row.of(name, ratios(own.seconds, times[baseline].seconds), (aims or {}).get(name, ""), own.seconds, own.peak)
        for name, own in times.items()
    ]
