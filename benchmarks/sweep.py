"""Measure how much a sweep over the prefix tree saves over running every schedule separately.

Three comparisons on the real 30-block model, each in one process, with the same scorer or task and the same numerics:

- the paper's sweep on `builtin:cloze`, over the prefix tree and schedule by schedule;
- its sweep of loop counts (1 to 28, from every start), in the same two ways;
- several schedules on a local LAMBADA-like task of lm-eval, over the prefix tree and with one call of
  ``lm_eval.simple_evaluate`` a schedule on the same module.

Block calls are counted with hooks on the blocks. Run it on an idle machine::

    python benchmarks/sweep.py [--limit 12] [--loop-limit 2] [--lambada FILE.jsonl]
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerscope.evaluation.example_scores import score_examples
from layerscope.evaluation.load_task import load_task
from layerscope.evaluation.prompt_batches import plan_prompt_batches
from layerscope.evaluation.sweep_plan import plan_sweep
from layerscope.evaluation.task_scoring import score_task
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.packaged import fetch
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import new_block_calls
from layerscope.texts.sources import open_texts

BATCH_TOKENS = 2048


@contextmanager
def counted(model: Model) -> Iterator[list[int]]:
    """Count block calls within the context."""
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    handles = [block.register_forward_hook(count) for block in model.blocks]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class Times(NamedTuple):
    """Wall and processor time of a job."""

    wall: float
    processor: float  # which other users of the machine lengthen less

    def against(self, other: "Times") -> str:
        return (
            f"{self.wall:.1f} s against {other.wall:.1f} s, {other.wall / self.wall:.2f} times faster; "
            f"{self.processor:.1f} s of processor time against {other.processor:.1f} s, "
            f"{other.processor / self.processor:.2f} times less"
        )


def timed(job: Callable[[], object]) -> Times:
    started = time.perf_counter(), time.process_time()
    job()
    return Times(time.perf_counter() - started[0], time.process_time() - started[1])


def distinct(model: Model, **options: Any) -> list[Schedule]:
    return list(dict.fromkeys(plan_sweep(model.depth, **options).schedules))


def against_alone(name: str, model: Model, task: TokenizedTask, schedules: Sequence[Schedule]) -> None:
    """Time the prefix tree against separate schedules, through the same scorer."""
    losses: dict[str, np.ndarray] = {}

    def run_tree() -> None:
        losses["tree"] = np.array(
            [score_examples(task, given).loss for given in score_task(model, task, schedules, BATCH_TOKENS)]
        )

    def run_separately() -> None:
        given = [score_task(model, task, [schedule], BATCH_TOKENS)[0] for schedule in schedules]
        losses["alone"] = np.array([score_examples(task, answers).loss for answers in given])

    score_task(model, task, schedules[:2], BATCH_TOKENS)  # warm
    with counted(model) as calls:
        tree = timed(run_tree)
        tree_calls, calls[0] = calls[0], 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        alone = timed(run_separately)
        alone_calls = calls[0]
    batches = len(list(plan_prompt_batches(task.prompts, BATCH_TOKENS)))
    expected = sum(new_block_calls(schedules)) * batches
    assert tree_calls == expected, (tree_calls, expected)
    assert np.array_equal(losses["tree"], losses["alone"]), "the results differ"
    print(
        f"{name}: {len(schedules)} schedules, {len(task.items)} examples in {batches} batch(es); block calls {tree_calls:,} "
        f"(exactly the prefix tree's) against {alone_calls:,}, {alone_calls / tree_calls:.2f} times fewer; "
        f"{tree.against(alone)}; losses equal bit for bit; "
        f"peak memory {peak / 1e6:,.0f} MB"
    )


TASK = """
task: layerscope_benchmark
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def against_lm_eval(model: Model, limit: int, lambada: Path | None) -> None:
    """Time the prefix tree against one `simple_evaluate` a schedule, on the same task and module."""
    import lm_eval
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "passages.jsonl"
        if lambada is None:
            lines = [json.dumps({"text": text.text}) for text in open_texts("builtin:passages", limit=limit)]
        else:
            lines = lambada.read_text(encoding="utf-8").splitlines()[:limit]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "task.yaml").write_text(TASK.format(file=file), encoding="utf-8")
        schedules = distinct(model, starts="12", seeds=10)
        ours: list[dict[str, float]] = []
        theirs: list[dict[str, float]] = []

        def run_tree() -> None:
            task = load_task("lm-eval:layerscope_benchmark", model, limit, folder)
            ours.extend(task.grade(given).metrics for given in score_task(model, task, schedules, BATCH_TOKENS))

        # A caller with many schedules would also build the index of all tasks once, and skip lm-eval's machine report.
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        evaluator.add_env_info = lambda results: None

        def run_separately() -> None:
            harness = HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=32, max_length=model.context)
            for schedule in schedules:
                with scheduled(model, schedule):
                    scored = lm_eval.simple_evaluate(
                        harness, tasks=["layerscope_benchmark"], limit=limit, task_manager=manager, bootstrap_iters=0
                    )
                results = scored["results"]["layerscope_benchmark"]
                theirs.append({key.split(",")[0]: value for key, value in results.items() if key.endswith(",none")})

        tree, alone = timed(run_tree), timed(run_separately)
    for mine, its in zip(ours, theirs, strict=True):
        assert np.isclose(mine["perplexity"], its["perplexity"], rtol=1e-4), (mine, its)
    print(
        f"lm-eval: {len(schedules)} schedules from start 12, {limit} examples; {tree.against(alone)} with "
        "simple_evaluate a schedule (its batches of 32); perplexities equal within 1e-4"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--loop-limit", type=int, default=2)
    parser.add_argument("--loop-starts", default="all")
    parser.add_argument("--lm-eval-limit", type=int, default=32)
    parser.add_argument("--lambada", type=Path, default=None, help="a .jsonl in place of the built-in passages")
    parser.add_argument("--only", choices=["paper", "loops", "lm-eval"], default=None)
    options = parser.parse_args()
    model = load_model(fetch("smollm2-135m"))
    if options.only in (None, "paper"):
        task = load_task("builtin:cloze", model, options.limit)
        against_alone("the paper's sweep", model, task, distinct(model))
    if options.only in (None, "loops"):
        task = load_task("builtin:cloze", model, options.loop_limit)
        against_alone(
            "its loop counts",
            model,
            task,
            distinct(model, variants="looped_parallel", loops="1-28", starts=options.loop_starts),
        )
    if options.only in (None, "lm-eval"):
        against_lm_eval(model, options.lm_eval_limit, options.lambada)


if __name__ == "__main__":
    main()
