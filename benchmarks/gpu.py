"""Measure on a machine with a GPU what LayerScope costs there, in less than 8 minutes and without network.

Makes random bfloat16 models of the shapes of Pythia-1B and Llama-7B on the device. Captures are compared with the bare
decoder forward on the same batches and with the usual ways to take states; cosine and CKA on the device with
`layerscope.analyze` on the host; `skip:8`, `parallel:8` and stacked `parallel:8` of 32 blocks with the full model; schedules
that run together with schedules one after another. All take turns, and a table of ratios with their range is printed::

    python benchmarks/gpu.py --output gpu.md
    python benchmarks/gpu.py --tiny        # all of it in seconds, on the CPU, at sizes that say nothing of speed
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import latency
import products
import rivals
import torch
from measures import as_capture, states
from random_models import LLAMA_7B, PYTHIA_1B, TINY, Shape, Texts, random_model, random_texts
from table import Row, machine, markdown, ratios, versions
from turns import Job, against, take_turns

from layerscope.capturing.capture import capture
from layerscope.capturing.driver import plan_rows
from layerscope.capturing.indexing import index_texts
from layerscope.capturing.options import CaptureOptions
from layerscope.capturing.request import prepare
from layerscope.evaluation.prompt_batches import build_batch
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.scoring import score_batch
from layerscope.measures.analysis import analyze
from layerscope.measures.streaming import Statistics
from layerscope.models.model import Model
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.tree import prefix_tree
from layerscope.states import StateRows
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import pad_batch

BARE = "bare decoder forward"
STATISTICS = ("cosine", "cosine_sequence", "norm")
WAYS = [("identity", False), ("skip:8", False), ("parallel:8", False), ("parallel:8", True)]
SWEPT = [f"{variant}:{start}" for variant in ("skip", "middle_repeat", "parallel") for start in (6, 8, 10, 12)]
SWEPT_PROMPTS, SWEPT_TOKENS = 4, 64
TOLERANCE = 1e-4  # between the products of float32 on two devices


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    shapes: tuple[Shape, ...]
    tokens: int
    batch_tokens: int
    longest: int
    analysed_tokens: int
    rounds: int


class Dropped:
    """A sink that drops the states once they are in the memory of the host."""

    keeps_rows = False

    def update(self, rows: StateRows) -> None:
        assert rows.hidden.device.type == "cpu"


def planned(model: Model, texts: Texts, batch_tokens: int) -> rivals.Batches:
    """Return the batches that a capture of the texts runs."""
    with SequenceIndex() as index:
        index_texts(index, prepare(model, texts, CaptureOptions(batch_tokens=batch_tokens)))
        plan = plan_rows(index, batch_tokens, model.length_dependence)
        return [pad_batch(batch.token_ids, model.pad_id, "right") for batch in plan]


def captures(model: Model, sizes: Sizes, folder: Path) -> list[Row]:
    """Compare captures and the usual ways with the bare forward."""
    texts = random_texts(sizes.tokens, sizes.longest, model.vocabulary_size)
    batches = planned(model, texts, sizes.batch_tokens)
    run: Callable[..., object] = partial(capture, model, texts, batch_tokens=sizes.batch_tokens)
    jobs: dict[str, Job] = {
        BARE: lambda: rivals.bare(model, batches),
        "LayerScope, states to host memory": lambda: run(sinks=[Dropped()]),
        "LayerScope, to disk": lambda: run(folder / "run.h5", overwrite=True),
        "LayerScope, statistics only": lambda: run(sinks=[Statistics(STATISTICS)]),
    }

    def usual(name: str, way: Callable[[Model, rivals.Batches], Iterator[rivals.States]]) -> dict[str, Job]:
        return {
            f"{name}, states to host memory": lambda: rivals.to_host(way(model, batches)),
            f"{name}, to disk": lambda: rivals.save(folder, way(model, batches)),
        }

    jobs |= usual("`output_hidden_states`", rivals.output_hidden_states) | usual("loop of hooks", rivals.hooks)
    rows = against(BARE, take_turns(jobs, sizes.rounds, model.device))
    # A trace leaves its wrappers on every module, which would slow the others down: it comes last, with its own baseline.
    traced: dict[str, Job] = {BARE: jobs[BARE]} | usual("nnsight", rivals.nnsight)
    return rows + against(BARE, take_turns(traced, sizes.rounds, model.device))[1:]


def analyses(shape: Shape, sizes: Sizes, device: torch.device) -> list[Row]:
    """Return how many times faster `analyze` is with the device, and plain products of states that are there already."""
    hidden = states(shape.depth + 1, sizes.analysed_tokens, shape.width)
    dataset = as_capture(hidden)
    on_device = torch.from_numpy(dataset["hidden"].values).to(device)
    rows = []
    for name, measure in products.MEASURES.items():
        expected = torch.from_numpy(analyze(dataset, measures=[name])[name].values)
        torch.testing.assert_close(measure(on_device).cpu(), expected, atol=TOLERANCE, rtol=0)
        jobs: dict[str, Job] = {
            "host": lambda name=name: analyze(dataset, measures=[name]),
            "`analyze --device`": lambda name=name: analyze(dataset, measures=[name], device=str(device)),
            "products of states on the device": lambda measure=measure: measure(on_device).cpu(),
        }
        times = take_turns(jobs, sizes.rounds, device)
        rows += [
            Row.of(
                f"`{name}` of `analyze` on the host, over {way}",
                ratios(times["host"].seconds, times[way].seconds),
                seconds=times[way].seconds,
                peak=times[way].peak,
            )
            for way in list(jobs)[1:]
        ]
    return rows


def sweeps(model: Model, sizes: Sizes) -> list[Row]:
    """Return the time of a sweep of a small batch with `--fuse`, over that without."""
    texts = random_texts(SWEPT_PROMPTS * SWEPT_TOKENS, SWEPT_TOKENS, model.vocabulary_size)[:SWEPT_PROMPTS]
    prompts = [Prompt(tuple(text[:-1]), ((text[-1],),)) for text in texts]
    batch = build_batch(prompts, [0] * len(prompts), tuple(range(len(prompts))), 0)
    tree = prefix_tree([parse_schedule(spec, model.depth)[1] for spec in ["identity", *SWEPT]])

    def job(fuse: int) -> Job:
        return lambda: score_batch(model, batch, tree, lambda *_: None, fuse=fuse)

    jobs = {"one schedule after another": job(1)} | {f"`--fuse {most}`": job(most) for most in (4, 12)}
    return against("one schedule after another", take_turns(jobs, sizes.rounds, model.device))


def measure(sizes: Sizes, device: torch.device, folder: Path) -> dict[str, list[Row]]:
    """Return the rows of all comparisons, by shape and comparison."""
    groups: dict[str, list[Row]] = {}
    for shape in sizes.shapes:
        started = time.perf_counter()
        model = random_model(shape, device)
        if shape.depth == 32:
            times = latency.take_turns(model, WAYS, sizes.rounds, time.perf_counter)
            groups[f"{shape.name}: time a token"] = latency.as_rows(times)
            groups[f"{shape.name}: sweep of {len(SWEPT) + 1} schedules"] = sweeps(model, sizes)
        groups[f"{shape.name}: capture"] = captures(model, sizes, folder)
        del model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        groups[f"{shape.name}: analysis"] = analyses(shape, sizes, device)
        print(f"{shape.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return groups


def report(groups: dict[str, list[Row]], sizes: Sizes, device: torch.device) -> str:
    named = ", ".join(f"{package} {number}" for package, number in versions().items())
    return (
        f"{machine(device)}. {named}. Random bfloat16 models; {sizes.tokens:,} tokens a capture in batches of "
        f"{sizes.batch_tokens:,}, {sizes.analysed_tokens:,} tokens of float32 states an analysis; {sizes.rounds} rounds. "
        "Captures are relative to the bare decoder forward, "
        "times a token to the full model; seconds are of one run or token.\n\n"
        f"{markdown(groups)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny models on the CPU, to see that everything runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of a capture")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; temporary files by default")
    parser.add_argument("--output", type=Path, default=None, help="also write the table to this file")
    options = parser.parse_args()
    if options.tiny:
        sizes, device = Sizes(tuple(TINY), 200, 128, 32, 64, options.rounds), torch.device("cpu")
    else:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            parser.error("no GPU here: --tiny runs everything at tiny sizes on the CPU")
        device = torch.device(options.device)
        sizes = Sizes((PYTHIA_1B, LLAMA_7B), options.tokens, options.batch_tokens, 512, 2048, options.rounds)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        text = report(measure(sizes, device, Path(folder)), sizes, device)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
