"""Fine-tune an encoder on GLUE under schedules: the BERT half of Fig. 11, and the BERT curves of Fig. 4 to 9.

The encoder gets a new classifier, and the schedule runs both in training and in scoring. Batches of 32, at most 128 tokens,
three epochs at 2e-5; `--frozen` trains the classifier alone, at 3e-2. The output is a sweep file with the `score` of each
task in the metric of that task. An interrupted run resumes and does not repeat finished scores::

    python analyses/finetune_glue.py google-bert/bert-large-uncased --variants all --output bert.nc
    layerscope plot bert.nc --kind sweep --quantity score
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import xarray as xr

import layerscope as ls
from finetuning import Encode, checked, options_of_training, settings_of, train
from glue import TASKS, Example, Task, read_examples
from layerscope.errors import LayerScopeError, ModelError, unknown_name
from layerscope.evaluation.sweep_plan import SweepPlan, plan_sweep
from layerscope.results import write_result
from layerscope.models.identity import identify
from layerscope.models.loading import DTYPES, load_model, wrap_module
from layerscope.models.model import Model
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.tokenizer import load_tokenizer
from layerscope.outputs import writable
from layerscope.progress import Advance, progress
from layerscope.provenance import provenance
from layerscope.schedules.spec import Spec, parse_spec
from layerscope.store.resume import first_difference
from layerscope.version import __version__
from scripts import ended

RATE, FROZEN_RATE = 2e-5, 3e-2
RUNS = ("variants", "schedule", "starts", "seeds", "loops")

Scores = dict[tuple[str, Spec], float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = options_of_training(__doc__.split("\n")[0], epochs=3, batch=32, rate=f"{RATE}; frozen {FROZEN_RATE}")
    parser.add_argument("--tasks", default=",".join(TASKS), help="names separated by commas (all)")
    parser.add_argument("--frozen", action="store_true", help="train the classifier alone")
    parser.add_argument("--max-length", type=int, default=128, help="maximum number of tokens of an example")
    parser.add_argument("--variants", help="all, or names (all, unless --schedule is given)")
    parser.add_argument("--schedule", action="append", default=[], help="another schedule; may be repeated")
    parser.add_argument("--starts", default="all", help="starts N, such as 8,12 (all valid ones)")
    parser.add_argument("--seeds", type=int, default=10, help="number of shuffles of random")
    parser.add_argument("--loops", default="3", help="numbers of loops of looped_parallel")
    parser.add_argument("--output", type=Path, required=True, help="a .nc file; runs are added to an existing one")
    chosen = checked(parser.parse_args())
    chosen.rate = chosen.rate or (FROZEN_RATE if chosen.frozen else RATE)
    return chosen


def main() -> None:
    """Fine-tune for every task under every schedule, and write each score as soon as it is known."""
    chosen = options()
    names = list(dict.fromkeys(chosen.tasks.split(",")))
    for name in names:
        if name not in TASKS:
            raise unknown_name("task of GLUE", name, TASKS)
    examples = {name: [read_examples(name, split, chosen.limit) for split in ("train", "dev")] for name in names}
    target = writable(chosen.output)
    model = load_model(chosen.model)  # only to inspect it; each run loads its own copy
    if model.architecture.causal:
        raise ModelError(f"{model.name} is a decoder: give an encoder, such as BERT")
    runs = plan_sweep(model.depth, **{name: getattr(chosen, name) for name in RUNS}).runs
    settings = settings_of(chosen, "tasks", "output", *RUNS)
    begun = target.with_name(f"{target.name}.begun")  # the target itself is always complete
    scores, before = done_before(begun if begun.exists() else target, settings)
    every = list(dict.fromkeys([*before, *runs]))
    for name, run in itertools.product(names, runs):
        if (name, run) not in scores:
            scores[name, run] = fine_tuned(chosen, name, *examples[name], run)
            write_result(table(scores, every, model, settings), begun)
            print(f"{name} under {run}: {scores[name, run]:.4f}", flush=True)
    if begun.exists():
        begun.replace(target)
    for run in runs:
        print(f"mean of {', '.join(names)} under {run}: {np.mean([scores[name, run] for name in names]):.4f}")


def done_before(path: Path, settings: Mapping[str, Any]) -> tuple[Scores, list[Spec]]:
    """Read the scores and runs of an output, none if it does not exist; refuse one with other settings."""
    if not path.exists():
        return {}, []
    done = ls.open_sweep(path)
    if difference := first_difference(json.loads(done.attrs.get("settings", "{}")), settings):
        raise LayerScopeError(f"{path}: {difference}. Use the same settings, or give another --output.")
    runs = [parse_spec(str(spec)) for spec in done.schedule.values]
    cells = itertools.product(map(str, done.task.values), runs)
    scores = dict(zip(cells, done.score.values.ravel().tolist(), strict=True))
    return {cell: score for cell, score in scores.items() if np.isfinite(score)}, runs


def table(scores: Scores, runs: Sequence[Spec], model: Model, settings: Mapping[str, Any]) -> xr.Dataset:
    """Return the scores as a sweep dataset, NaN for unfinished runs."""
    names = list(dict.fromkeys(name for name, _ in scores))
    values = [[scores.get((name, run), np.nan) for run in runs] for name in names]
    attributes = {"long_name": "the task's own metric, fine-tuned and scored under the schedule"}
    details = {"model": model.name, "architecture": model.architecture.family, "num_blocks": model.depth}
    made = {"settings": json.dumps(settings), "provenance": provenance(weights=settings["weights"])}
    return xr.Dataset(
        {"score": (("task", "run"), values, attributes)},
        coords={"task": names, **SweepPlan.build(runs, model.depth).columns},
        attrs={"layerscope_version": __version__, **details, **made},
    )


def fine_tuned(
    chosen: argparse.Namespace, name: str, trained_on: Sequence[Example], scored: Sequence[Example], run: Spec
) -> float:
    """Fine-tune a fresh copy of the model under a schedule, and return its score under that schedule."""
    task = TASKS[name]
    model = classifier(chosen, task)
    encode = encoder(model, task, chosen.max_length)
    work = chosen.epochs * len(trained_on) + len(scored)
    with progress(f"{name} under {run}", total=work, unit="examples") as advance, ls.scheduled(model, run):
        train(model, trained_on, encode, chosen, advance)
        outputs = outputs_of(model, scored, encode, chosen.batch, advance)
    return task.metric(np.array([example.label for example in scored]), outputs)


def classifier(chosen: argparse.Namespace, task: Task) -> Model:
    """Load an encoder with a new classifier on it, the same for the same seed."""
    who = identify(chosen.model)
    torch.manual_seed(chosen.seed)
    with translate_loader_errors(who.name), silence_loaders():
        module = transformers.AutoModelForSequenceClassification.from_pretrained(
            who.folder, revision=who.revision, num_labels=task.outputs, dtype=DTYPES[chosen.dtype]
        )
    options = {"revision": who.revision, "trust_remote_code": False}
    tokenizer = load_tokenizer(who.folder, who.name, "fetch it again", options)
    model = wrap_module(module.to(chosen.device), tokenizer, name=who.name)
    model.trunk.requires_grad_(not chosen.frozen)  # BERT's pooler is part of it
    return model


def encoder(model: Model, task: Task, max_length: int) -> Encode:
    """Return a function that encodes a batch of GLUE examples."""
    longest = min(max_length, model.context or max_length)

    def encode(examples: Sequence[Example]) -> dict[str, Any]:
        texts = map(list, zip(*(example.texts for example in examples), strict=True))
        inputs = model.tokenizer(*texts, truncation=True, max_length=longest, padding=True, return_tensors="pt")
        kind = model.dtype if task.outputs == 1 else torch.long
        labels = torch.tensor([example.label for example in examples], dtype=kind)
        return {key: value.to(model.device) for key, value in {**inputs, "labels": labels}.items()}

    return encode


@torch.no_grad()
def outputs_of(model: Model, examples: Sequence[Example], encode: Encode, batch: int, advance: Advance) -> np.ndarray:
    """Return the outputs of a classifier, one row an example."""
    rows = []
    for first in range(0, len(examples), batch):
        part = examples[first : first + batch]
        rows.append(model.module(**encode(part)).logits.float().cpu().numpy())
        advance(len(part))
    return np.concatenate(rows)


if __name__ == "__main__":
    ended(main)
