"""Time a token under the full model, skip and parallel, with parallel stages in turn and as one batched call.

Measures prompts of several lengths, and generation with the cache, each schedule under `ls.scheduled`, plain and with
``stacked=True``. The contenders take turns. Run it on an idle machine; on a busy one use one thread (``OMP_NUM_THREADS=1``)
and the processor's clock::

    python benchmarks/latency.py [--rounds 5] [--device cpu] [--clock wall]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import islice

import torch
from table import Row, ratios
from turns import wait

from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.packaged import fetch
from layerscope.schedules.spec import parse_schedule

WAYS = [
    ("identity", False),
    ("skip:8", False),
    ("skip:12", False),
    *(
        (spec, stacked)
        for spec in ("parallel:8", "looped_parallel:8:loops=3", "parallel:12")
        for stacked in (False, True)
    ),
]
PROMPTS, NEW = (1, 16, 256), 24
JOBS = (*(f"{tokens} at once" for tokens in PROMPTS), "generated")
Way = tuple[str, bool]
"""A spec, and whether its stages are stacked."""
Clock = Callable[[], float]

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def timed(model: Model, spec: str, stacked: bool, clock: Clock) -> list[float]:
    """Return seconds a token, for prompts of each length and for generation after a short one."""

    def seconds(job: Callable[[], object]) -> float:
        wait(model.device)
        started = clock()
        job()
        wait(model.device)
        return clock() - started

    seconds_per_token = []
    with scheduled(model, spec, stacked=stacked), torch.no_grad():
        for tokens in PROMPTS:
            ids = torch.arange(100, 100 + tokens)[None].to(model.device)
            model.trunk(ids[:, :1], use_cache=False)  # stacks the weights
            seconds_per_token.append(seconds(lambda ids=ids: model.trunk(ids, use_cache=False)) / tokens)
        ids = torch.arange(100, 116)[None].to(model.device)
        options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": model.pad_id}
        mask = torch.ones_like(ids)
        seconds_per_token.append(seconds(lambda: model.module.generate(ids, attention_mask=mask, **options)) / NEW)
    return seconds_per_token


def take_turns(model: Model, ways: Sequence[Way], rounds: int, clock: Clock) -> dict[Way, list[list[float]]]:
    """Time every way once a round, after a round to warm up."""
    times: dict[Way, list[list[float]]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way in ways:
            seconds_per_token = timed(model, *way, clock)
            if turn:
                times[way].append(seconds_per_token)
    return times


def named(way: Way) -> str:
    spec, stacked = way
    return f"{spec}, stacked" if stacked else spec


def as_rows(times: dict[Way, list[list[float]]]) -> list[Row]:
    """Return the time a token of every way and job, over that of the full model in the same round."""
    full = times["identity", False]
    return [
        Row.of(
            f"`{named(way)}`, {job}",
            ratios([one[kind] for one in rounds], [one[kind] for one in full]),
            seconds=[one[kind] for one in rounds],
        )
        for way, rounds in times.items()
        for kind, job in enumerate(JOBS)
    ]


def show(model: Model, times: dict[Way, list[list[float]]]) -> None:
    heads = "".join(f"{job:>17}" for job in JOBS)
    print(f"{'':36} {'calls':>5} {'stages':>6}{heads}   (ms a token, times the full model)")
    results = iter(as_rows(times))
    for way in times:
        schedule = parse_schedule(way[0], model.depth)[1]
        cells = [f"{1e3 * row.seconds:10.2f} {row.ratio:6.2f}" for row in islice(results, len(JOBS))]
        print(f"{named(way):36} {schedule.block_calls:5} {len(schedule):6}{''.join(cells)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    model = load_model(fetch("smollm2-135m"), device=options.device)
    times = take_turns(model, WAYS, options.rounds, CLOCKS[options.clock])
    show(model, times)


if __name__ == "__main__":
    main()
