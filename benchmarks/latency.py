"""Wall time a token under the full model, skip and parallel; and a parallel stage run as one batched call.

For a prompt read at once and for tokens generated one by one, each schedule under `ls.scheduled`. A parallel stage runs its
blocks one after another: whether one call over stacked weights (``torch.func`` and ``vmap``) would be faster is measured beside
it. Run with nothing else on the machine::

    python benchmarks/latency.py [--rounds 5] [--device cpu]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.func import functional_call, stack_module_state

from layerscope.execution.passes import record
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.packaged import fetch
from layerscope.schedules.spec import parse_schedule

SPECS = ["identity", "skip:8", "parallel:8", "looped_parallel:8:loops=3", "skip:12", "parallel:12"]
PROMPT, NEW = 256, 24


def seconds(job: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def read_prompt(model: Model, spec: str) -> float:
    """Seconds a token to read a prompt at once."""
    ids = torch.arange(100, 100 + PROMPT)[None].to(model.device)
    with scheduled(model, spec), torch.no_grad():
        return seconds(lambda: model.trunk(ids, use_cache=False), model.device) / PROMPT


def write(model: Model, spec: str) -> float:
    """Seconds a token to generate after a short prompt."""
    ids = torch.arange(100, 116)[None].to(model.device)
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": model.pad_id}
    with scheduled(model, spec), torch.no_grad():
        return (
            seconds(lambda: model.module.generate(ids, attention_mask=torch.ones_like(ids), **options), model.device)
            / NEW
        )


def stage(model: Model, blocks: range, tokens: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of one parallel stage, block after block and as one call over stacked weights, and how far they differ."""
    ids = torch.arange(100, 100 + tokens)[None]
    prepared = record(model, ids, torch.ones_like(ids))
    start = prepared.start
    chosen = [model.blocks[block] for block in blocks]
    weights, buffers = stack_module_state(chosen)  # type: ignore[arg-type]
    shell = chosen[0]
    arguments = prepared.call._run[blocks[0]].args  # type: ignore[attr-defined]  # the arguments recorded for that block
    _, positional, keywords = arguments

    def one(weight: dict[str, torch.Tensor], buffer: dict[str, torch.Tensor]) -> torch.Tensor:
        output = functional_call(shell, (weight, buffer), (start, *positional[1:]), keywords)
        return output[0] if isinstance(output, tuple) else output

    def batched() -> torch.Tensor:
        return torch.vmap(one)(weights, buffers).mean(0)

    def after_another() -> torch.Tensor:
        return torch.stack([prepared.call(block, start) for block in blocks]).mean(0)

    with torch.no_grad():
        differ = float((batched() - after_another()).norm() / after_another().norm())
        both = [(seconds(after_another, model.device), seconds(batched, model.device)) for _ in range(rounds)]
    return statistics.median(a for a, _ in both), statistics.median(b for _, b in both), differ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    model = load_model(fetch("smollm2-135m"), device=options.device)
    times: dict[str, list[tuple[float, float]]] = {spec: [] for spec in SPECS}
    for turn in range(options.rounds + 1):
        for spec in SPECS:
            found = (read_prompt(model, spec), write(model, spec))
            if turn:
                times[spec].append(found)
    print(f"{'':28} {'calls':>6} {'stages':>6} {'prompt':>8} {'ratio':>6} {'writing':>8} {'ratio':>6}   (ms a token)")
    for spec, found in times.items():
        schedule = parse_schedule(spec, model.depth)[1]
        ratios = [
            statistics.median(one[kind] / full[kind] for one, full in zip(found, times["identity"], strict=True))
            for kind in (0, 1)
        ]
        prompt, writing = (1e3 * statistics.median(one[kind] for one in found) for kind in (0, 1))
        print(
            f"{spec:28} {schedule.block_calls:6} {len(schedule):6} {prompt:8.2f} {ratios[0]:6.2f} {writing:8.2f} {ratios[1]:6.2f}"
        )
    for tokens in (1, 16, 256):
        alone, batched, differ = stage(model, range(9, 22), tokens, options.rounds)
        print(
            f"a stage of 13 blocks on {tokens} token(s): {1e3 * alone:.1f} ms one after another, {1e3 * batched:.1f} ms as one "
            f"batched call ({alone / batched:.2f} times as fast; they differ by {differ:.0e})"
        )


if __name__ == "__main__":
    main()
