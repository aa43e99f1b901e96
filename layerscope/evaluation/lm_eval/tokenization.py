"""Tokenize a task of lm-eval for a model, so that all schedules answer the same prompts.

lm-eval builds the prompts and grades the answers. `layerscope.evaluation.lm_eval.model` tokenizes the prompts as lm-eval's own
model does, and the shared-prefix engine scores them. lm-eval itself is unchanged.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from layerscope.evaluation.continuation_scores import ContinuationScores, TaskMetrics
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.lm_eval.grading import Response, check_metrics, grade
from layerscope.evaluation.lm_eval.isolation import seeded
from layerscope.evaluation.lm_eval.lm_eval_task import LmEvalTask
from layerscope.evaluation.lm_eval.loading import load_lm_eval_task
from layerscope.evaluation.lm_eval.model import LmEvalModel, Pair
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.tokenized_task import ContinuationIndex, TaskItem, TokenizedTask
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["LmEvalGenerationTask", "LmEvalScoringTask", "tokenize_lm_eval_task"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class LmEvalScoringTask(TokenizedTask):
    """A log-likelihood task of lm-eval.

    Attributes
    ----------
    source
        Task with its requests.
    indices
        Index of the answer to each request: one, or those of the windows of a text.
    graded_by_task
        Whether only the task itself can decide which answers are right.
    """

    source: LmEvalTask = field(repr=False, compare=False)
    indices: tuple[tuple[ContinuationIndex, ...], ...] = field(repr=False, compare=False)
    graded_by_task: bool

    @property
    def graded(self) -> bool:
        """Whether `grade` decides which answers are right, instead of the likelihoods of the choices."""
        return self.graded_by_task

    def grade(self, scores: ContinuationScores) -> TaskMetrics:
        """Grade the answers with lm-eval."""
        responses: list[Response] = []
        for indices in self.indices:
            likelihood = sum(float(scores.log_likelihood[index]) for index in indices)
            greedy = all(bool(scores.greedy[index]) for index in indices)
            responses.append(likelihood if self.kind == "rolling" else (likelihood, greedy))
        return grade(self.source, responses)


@dataclass(frozen=True)
class LmEvalGenerationTask(GenerationTask):
    """A generation task of lm-eval.

    Attributes
    ----------
    source
        Task with its requests.
    adapter
        Model that tokenizes the requests and generates the answers.
    """

    source: LmEvalTask = field(repr=False, compare=False)
    adapter: LmEvalModel = field(repr=False, compare=False)

    def run(
        self, model: Model, schedule: Schedule, generated: Callable[[int], None] = lambda answers: None
    ) -> TaskMetrics:
        """Generate the answers under a schedule, and grade them with lm-eval."""
        with scheduled(model, schedule), seeded():
            texts = self.adapter.generate_answers(self.source.requests, generated, schedule)
        return grade(self.source, texts)


def tokenize_lm_eval_task(
    name: str, model: Model, limit: int | None = None, include_path: Path | None = None
) -> LmEvalScoringTask | LmEvalGenerationTask:
    """Load a task of lm-eval and tokenize it for a model.

    Prompts, few-shot examples and metrics are the task's own, as ``lm_eval.simple_evaluate`` would use them. A context that is
    too long for the model is truncated on the left; a warning gives the number of such contexts.

    Parameters
    ----------
    name
        lm-eval's name of one task; a group or tag of several tasks is refused.
    model
        A decoder.
    limit
        Maximum number of examples; the first ones are taken.
    include_path
        Folder of task definitions, which precede lm-eval's own.

    Raises
    ------
    UsageError
        The task is unknown, or the name is that of several tasks.
    TextsError
        The data cannot be read; the task does not fit the model, runs code, shows images, or mixes kinds; or a metric cannot be
        computed.
    """
    source = load_lm_eval_task(name, limit, include_path)
    adapter = LmEvalModel(model, f"lm-eval:{name}")
    task = _generation_task(source, adapter) if source.kind == "generate_until" else _scoring_task(source, adapter)
    check_metrics(source)
    if adapter.truncated:
        warnings.warn(
            f"{task.name}: {adapter.truncated} contexts truncated on the left to fit {adapter.max_length} tokens",
            stacklevel=2,
        )
    return task


def _generation_task(source: LmEvalTask, adapter: LmEvalModel) -> LmEvalGenerationTask:
    adapter.check_lengths(source.requests)
    requests = tuple(json.dumps(request.args, sort_keys=True, default=str) for request in source.requests)
    items = tuple(TaskItem(str(requests[0].doc_id), (), None, ()) for requests in source.documents)
    return LmEvalGenerationTask(f"lm-eval:{source.name}", "written", 0.0, (), items, requests, source, adapter)


def _scoring_task(source: LmEvalTask, adapter: LmEvalModel) -> LmEvalScoringTask:
    prompts: list[Prompt] = []
    indices: list[tuple[ContinuationIndex, ...]] = []
    items: list[TaskItem] = []
    chances: list[float] = []
    has_one_answer = True
    pairs = iter(adapter.pairs(source.requests))
    for requests in source.documents:
        own = _add_prompts(list(islice(pairs, len(requests))), prompts)
        indices += own
        choices, golds = source.choices(requests)
        # Requests beyond the choices, such as a choice without its context, belong to no example.
        choice_indices = [index[0] for index in own[:choices]] if source.kind == "loglikelihood" else list(own[0])
        has_one_answer = has_one_answer and len(golds) == 1
        gold, lengths = (golds[0] if golds else None), source.byte_lengths(requests, choices)
        items.append(TaskItem(str(requests[0].doc_id), tuple(choice_indices), gold, lengths))
        chances.append(len(golds or [0]) / choices if choices > 1 else 0.0)
    kind = _kind(source, items)
    return LmEvalScoringTask(
        f"lm-eval:{source.name}",
        kind,
        sum(chances) / len(chances),
        tuple(prompts),
        tuple(items),
        source,
        tuple(indices),
        graded_by_task=kind != "rolling" and not (source.likeliest_is_right and has_one_answer),
    )


def _kind(source: LmEvalTask, items: Sequence[TaskItem]) -> Literal["continuation", "choice", "rolling"]:
    if source.kind == "loglikelihood_rolling":
        return "rolling"
    return "choice" if any(len(item.choices) > 1 for item in items) else "continuation"


def _add_prompts(requests: Sequence[Sequence[Pair]], prompts: list[Prompt]) -> list[tuple[ContinuationIndex, ...]]:
    """Add the prompts of one example, one for each distinct context, and return the index of each request's pairs."""
    first = len(prompts)
    continuations: dict[Tokens, list[Tokens]] = {}
    indices = []
    for pairs in requests:
        own = []
        for context, continuation in pairs:
            known = continuations.setdefault(context, [])
            if continuation not in known:
                known.append(continuation)
            own.append((first + list(continuations).index(context), known.index(continuation)))
        indices.append(tuple(own))
    prompts += [Prompt(context, tuple(known)) for context, known in continuations.items()]
    return indices
