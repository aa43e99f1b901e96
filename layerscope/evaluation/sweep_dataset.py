"""The results of a sweep, lifted to labelled arrays: the sweep file of the conventions.

Knows finished arrays; runs no model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray
from jaxtyping import Float

from layerscope.evaluation.bootstrap import drawn, interval, rank_correlation
from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.example_scores import ExampleScores, score_examples
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.task_scores import scores
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.measures.kernels.bootstrap import replicate_warning
from layerscope.models.model import Model
from layerscope.schedules.reference_states import reference_states
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec
from layerscope.schedules.tree import new_block_calls, path_to, prefix_tree
from layerscope.version import __version__

__all__ = ["DRIFTS", "build_sweep_dataset", "run_columns"]

DRIFTS = ("drift_cosine", "drift_norm", "drift_cka")

_LONG_NAMES = {
    "loss": "nats a token of the right choice, mean over examples",
    "perplexity": "exp of the mean over examples of the nats of the right choice, its tokens summed; of choices and whole texts: "
    "exp of all nats over all tokens",
    "byte_perplexity": "exp of all nats over all bytes, of choices and whole texts",
    "bits_per_byte": "all bits over all bytes, of choices and whole texts",
    "accuracy": "share of examples answered rightly",
    "accuracy_norm": "share of examples answered rightly, likelihoods taken a byte",
    "normalized": "accuracy with guessing at 0 and the full model at 1",
    "loss_difference": "loss beyond that of the full model, on the same examples",
    "drift_cosine": "1 - cos of the last state and the full model's, mean over tokens, position 0 left out",
    "drift_norm": "|h' - h| / |h| of the last state h' and the full model's h, mean over tokens, position 0 left out",
    "drift_cka": "1 - debiased CKA of the last states and the full model's, batch by batch",
    "drift_cosine_stage": "drift_cosine after each stage, against the full model's state reference_state",
    "drift_norm_stage": "drift_norm after each stage, against the full model's state reference_state",
    "variance_stage": "variance over tokens after each stage, mean over features, position 0 left out",
    "reference_state": "the state of the full model that each stage is held against; -1 beyond the last stage",
    "block_calls": "block calls an example newly made for this run in the prefix tree",
    "block_calls_alone": "block calls an example that this run takes by itself",
    "seconds": "seconds this run took beyond the runs before it, over all tasks",
    "example_loss": "nats a token of the right choice",
    "target_tokens": "tokens of the right choice",
    "target_bytes": "bytes of UTF-8 of the right choice",
    "kind": "continuation, choice, rolling (whole texts) or written (answers that the model writes)",
    "rank_correlation": "Spearman's rank correlation over runs of a drift with the loss",
    "chance": "accuracy of guessing",
    "examples": "how many examples a task has",
}


def build_sweep_dataset(
    model: Model,
    runs: Sequence[Spec],
    exams: Sequence[TokenizedTask],
    journal: Journal,
    facts: Mapping[str, str],
    *,
    bootstrap: int,
    seed: int,
    chance: Mapping[str, float],
) -> xarray.Dataset:
    """Read a finished journal into a Dataset.

    Parameters
    ----------
    model, runs, exams
        What was swept.
    journal
        Where the results are.
    facts
        More attributes for the file.
    bootstrap, seed
        Replicates over examples (over runs for the rank correlations), and their seed.
    chance
        Accuracies of guessing that are given rather than computed, by task.
    """
    schedules = [run.schedule(model.depth) for run in runs]
    levels = [chance.get(exam.name, exam.chance) for exam in exams]
    most = max(len(exam.items) for exam in exams)
    tasks, seconds = [], np.zeros(len(runs))
    for number, (exam, level) in enumerate(zip(exams, levels, strict=True)):
        results = _Results(number, exam, schedules, journal)
        seconds += results.seconds
        tasks.append(_of_task(results, level, bootstrap, seed).pad(example=(0, most - len(exam.items))))
    table = xarray.concat(tasks, dim="task").assign_coords(run_columns(runs, model.depth))
    table = table.assign_coords(task=[exam.name for exam in exams]).assign(
        kind=("task", [exam.kind for exam in exams]),
        chance=("task", levels),
        examples=("task", [len(exam.items) for exam in exams]),
        example_id=(("task", "example"), [_padded([q.id for q in exam.items], most) for exam in exams]),
        block_calls=("run", new_block_calls(schedules)),
        block_calls_alone=("run", [schedule.block_calls for schedule in schedules]),
        reference_state=(("run", "stage"), _references(schedules, model.depth)),
        seconds=("run", seconds),
    )
    for name, variable in table.variables.items():
        base = str(name).removesuffix("_low").removesuffix("_high")
        if base in _LONG_NAMES:
            ends = (
                ""
                if base == name
                else f", {'lower' if str(name).endswith('_low') else 'upper'} end of the 95 % interval"
            )
            variable.attrs["long_name"] = _LONG_NAMES[base] + ends
        if f"{name}_low" in table:
            variable.attrs |= replicate_warning(bootstrap)
    table.attrs = {
        "layerscope_version": __version__,
        "model": model.name,
        "architecture": model.architecture.family,
        "num_blocks": model.depth,
        "bootstrap": bootstrap,
        **facts,
    }
    return table


def _padded(names: list[str], length: int) -> list[str]:
    return names + [""] * (length - len(names))


def run_columns(runs: Sequence[Spec], depth: int) -> dict[str, Any]:
    """Return the columns that say of each run of a sweep what it was, for a model of `depth` blocks."""
    return {
        "schedule": ("run", [str(run) for run in runs]),
        "variant": ("run", [run.variant for run in runs]),
        "start": ("run", [run.start for run in runs]),
        "seed": ("run", [run.seed for run in runs]),
        "loops": ("run", [run.loops for run in runs]),
        "affected": ("run", [run.affected(depth) for run in runs]),
        "stages": ("run", [len(run.schedule(depth)) for run in runs]),
    }


def _references(schedules: Sequence[Schedule], depth: int) -> np.ndarray:
    table = np.full((len(schedules), max(map(len, schedules))), -1)
    for run, schedule in enumerate(schedules):
        table[run, : len(schedule)] = reference_states(schedule, depth)
    return table


class _Results:
    """All runs of one task, batch after batch put together."""

    def __init__(self, task: int, exam: TokenizedTask, schedules: Sequence[Schedule], journal: Journal) -> None:
        self.exam, self.schedules = exam, schedules
        prompts, stages = len(exam.prompts), max(map(len, schedules))
        self.seconds = np.zeros(len(schedules))
        self.drift = {name: np.full((len(schedules), prompts), np.nan) for name in ("drift_cosine", "drift_norm")}
        self.stage = {name: np.full((len(schedules), stages), np.nan) for name in (*_STAGED, "variance_stage")}
        self.cka = np.full(len(schedules), np.nan)
        examples: dict[str, list[np.ndarray]] = {name: [] for name in _JUDGED}
        for run in range(len(schedules)):
            entries = [arrays for _, arrays in journal.results(task, run)]
            judgement = self._written(run, entries) if isinstance(exam, GenerationTask) else self._scored(run, entries)
            for name in _JUDGED:
                examples[name].append(getattr(judgement, name))
        self.example = {name: np.stack(values) for name, values in examples.items()}
        if isinstance(exam, GenerationTask):
            return  # a text of its own under each schedule: there are no same tokens to measure drift on
        counted = np.isfinite(self.drift["drift_cosine"]).sum(1, keepdims=True)
        for name in _STAGED:
            self.stage[name] = self.stage[name] / np.where(counted > 0, counted, np.nan)
        self._variances(journal.sums(task))

    def _written(self, run: int, entries: Sequence[Mapping[str, np.ndarray]]) -> ExampleScores:
        (arrays,) = entries
        self.seconds[run] += float(arrays["seconds"])
        unknown = np.full(len(self.exam.items), np.nan)
        return ExampleScores(unknown, unknown, arrays["accuracy"], unknown)

    def _scored(self, run: int, entries: Sequence[Mapping[str, np.ndarray]]) -> ExampleScores:
        answers, criterion = ContinuationScores.empty(self.exam.prompts), np.zeros(3)
        for name in _STAGED:
            self.stage[name][run, : len(self.schedules[run])] = 0.0
        for arrays in entries:
            self._take(run, answers, arrays)
            criterion += np.nan_to_num(arrays["criterion"])
        self.cka[run] = _alignment(criterion)
        return score_examples(self.exam, answers)

    def _take(self, run: int, answers: ContinuationScores, arrays: Mapping[str, np.ndarray]) -> None:
        prompts = arrays["prompts"]
        answers.take(prompts.tolist(), arrays["log_likelihood"], arrays["greedy"])
        self.seconds[run] += float(arrays["seconds"])
        for name, values in self.drift.items():
            values[run, prompts] = arrays[name]
        for name in _STAGED:
            self.stage[name][run, : len(self.schedules[run])] += arrays[name]

    def _variances(self, sums: dict[int, dict[str, np.ndarray]]) -> None:
        root = prefix_tree(self.schedules)
        for run, schedule in enumerate(self.schedules):
            for stage, node in enumerate(path_to(root, schedule)):
                self.stage["variance_stage"][run, stage] = _variance(sums[node.number])


_STAGED = ("drift_cosine_stage", "drift_norm_stage")
_JUDGED = ("loss", "nats", "accuracy", "accuracy_norm")


def _alignment(criterion: Float[np.ndarray, "3"]) -> float:
    cross, own, own_full = criterion
    return float(cross / np.sqrt(own * own_full)) if own > 0 and own_full > 0 else float("nan")


def _variance(sums: dict[str, np.ndarray]) -> float:
    tokens = int(sums["tokens"])
    if not tokens:
        return float("nan")
    mean = sums["total"] / tokens
    return float((sums["squares"] / tokens - mean @ mean) / len(mean))


def _known_mean(values: Float[np.ndarray, "run prompt"]) -> Float[np.ndarray, " run"]:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(1) / known.sum(1))


def _of_task(results: _Results, chance: float, bootstrap: int, seed: int) -> xarray.Dataset:
    examples = len(results.exam.items)
    sizes = results.exam.sizes
    value = scores(results.example, np.full((1, examples), 1 / examples), chance, *sizes)
    found: dict[str, Any] = {name: ("run", values[0]) for name, values in value.items()}
    if bootstrap:
        for name, values in scores(results.example, drawn(examples, bootstrap, seed), chance, *sizes).items():
            low, high = interval(values)
            found |= {f"{name}_low": ("run", low), f"{name}_high": ("run", high)}
    drift = {name: _known_mean(values) for name, values in results.drift.items()} | {"drift_cka": 1 - results.cka}
    found |= {name: ("run", values) for name, values in drift.items()}
    found |= {name: (("run", "stage"), values) for name, values in results.stage.items()}
    correlations = [rank_correlation(drift[name], found["loss"][1], bootstrap, seed) for name in DRIFTS]
    columns = np.array(correlations).T
    found["rank_correlation"] = ("drift", columns[0])
    if bootstrap:
        found |= {"rank_correlation_low": ("drift", columns[1]), "rank_correlation_high": ("drift", columns[2])}
    found["example_loss"] = (("run", "example"), results.example["loss"])
    found["example_correct"] = (("run", "example"), results.example["accuracy"])
    found["target_tokens"] = ("example", results.exam.target_tokens)
    found["target_bytes"] = ("example", results.exam.target_bytes)
    return xarray.Dataset(found, coords={"drift": list(DRIFTS)})
