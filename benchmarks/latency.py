"""Time a token under the full model, skip and parallel, with parallel stages in turn and as one batched call.

Measures prompts of several lengths, and generation with the cache, each schedule under `ls.scheduled`, plain and with
``stacked=True``. The contenders take turns. Run it on an idle machine; on a busy one use one thread (``OMP_NUM_THREADS=1``)
and the processor's clock::

    python benchmarks/latency.py [--rounds 5] [--device cpu] [--clock wall]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

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

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def timed(model: Model, spec: str, stacked: bool, clock: Callable[[], float]) -> list[float]:
    """Return seconds a token, for prompts of each length and for generation after a short one."""

    def seconds(job: Callable[[], object]) -> float:
        started = clock()
        job()
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    model = load_model(fetch("smollm2-135m"), device=options.device)
    times: dict[tuple[str, bool], list[list[float]]] = {way: [] for way in WAYS}
    for turn in range(options.rounds + 1):
        for way in WAYS:
            seconds_per_token = timed(model, *way, CLOCKS[options.clock])
            if turn:
                times[way].append(seconds_per_token)
    heads = "".join(f"{f'{tokens} at once':>17}" for tokens in PROMPTS) + f"{'generated':>17}"
    print(f"{'':36} {'calls':>5} {'stages':>6}{heads}   (ms a token, times the full model)")
    for (spec, stacked), rounds in times.items():
        schedule = parse_schedule(spec, model.depth)[1]
        cells = []
        for kind in range(len(PROMPTS) + 1):
            ratio = statistics.median(
                one[kind] / full[kind] for one, full in zip(rounds, times["identity", False], strict=True)
            )
            cells.append(f"{1e3 * statistics.median(one[kind] for one in rounds):10.2f} {ratio:6.2f}")
        name = f"{spec}, stacked" if stacked else spec
        print(f"{name:36} {schedule.block_calls:5} {len(schedule):6}{''.join(cells)}")


if __name__ == "__main__":
    main()
