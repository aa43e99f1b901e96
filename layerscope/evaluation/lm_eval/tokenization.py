"""The bridge to lm-eval: its tasks as exams that all schedules sit together.

lm-eval makes the prompts, `layerscope.evaluation.lm_eval.model` puts them into tokens as lm-eval's own model does, the
shared-prefix engine answers them, and lm-eval grades the answers. lm-eval itself is used as it comes. Knows no file and no
figure.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from layerscope.errors import TextsError
from layerscope.evaluation.continuation_scores import ContinuationScores, TaskMetrics
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.lm_eval.grading import Response, check_metrics, grade
from layerscope.evaluation.lm_eval.isolation import seeded
from layerscope.evaluation.lm_eval.loading import LmEvalTask, load_lm_eval_task
from layerscope.evaluation.lm_eval.model import Pair, Reader
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.tokenized_task import Place, TaskItem, TokenizedTask
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["LmEvalGenerationTask", "LmEvalScoringTask", "lm_eval_metrics", "tokenize_lm_eval_task"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class LmEvalScoringTask(TokenizedTask):
    """A log-likelihood task of lm-eval.

    Attributes
    ----------
    asked
        The task and its requests.
    places
        Where the answer to each request stands: one place, or the windows of a text.
    by_task
        Whether only the task itself can say which examples are answered rightly.
    """

    asked: LmEvalTask = field(repr=False, compare=False)
    places: tuple[tuple[Place, ...], ...] = field(repr=False, compare=False)
    by_task: bool

    @property
    def graded(self) -> bool:
        """Whether `grade` and not `judge` says which examples are answered rightly."""
        return self.by_task

    def grade(self, answers: ContinuationScores) -> TaskMetrics:
        """Let lm-eval grade the answers."""
        responses: list[Response] = []
        for places in self.places:
            likelihood = sum(float(answers.log_likelihood[place]) for place in places)
            rolling = self.kind == "rolling"
            responses.append(likelihood if rolling else (likelihood, all(bool(answers.greedy[p]) for p in places)))
        return grade(self.asked, responses)


@dataclass(frozen=True)
class LmEvalGenerationTask(GenerationTask):
    """A generation task of lm-eval.

    Attributes
    ----------
    task
        The task and its requests.
    reader
        Who puts them into tokens and has them answered.
    """

    task: LmEvalTask = field(repr=False, compare=False)
    reader: Reader = field(repr=False, compare=False)

    def run(
        self, model: Model, schedule: Schedule, written: Callable[[int], None] = lambda answers: None
    ) -> TaskMetrics:
        """Let a model write its answers under a schedule, and let lm-eval grade them."""
        with scheduled(model, schedule), seeded():
            texts = self.reader.write(self.task.requests, written, schedule)
        return grade(self.task, texts)


def tokenize_lm_eval_task(
    name: str, model: Model, limit: int | None = None, include_path: Path | None = None
) -> LmEvalScoringTask | LmEvalGenerationTask:
    """Load a task of lm-eval and put it into the tokens of a model.

    Prompts, few-shot examples and metrics are the task's own, as ``lm_eval.simple_evaluate`` would use them. A context that is
    too long for the model loses its beginning; how many did is said in a warning.

    Parameters
    ----------
    name
        lm-eval's own name of one task; groups and tags of several are refused.
    model
        A decoder.
    limit
        Take the first so many examples.
    include_path
        A folder of task definitions, which come before lm-eval's own.

    Raises
    ------
    UsageError
        An unknown task, or several under one name.
    TextsError
        Data that cannot be had; a task that does not fit the model; one that runs code, shows images, or mixes kinds; a metric
        that cannot be computed of its answers.
    """
    asked = load_lm_eval_task(name, limit, include_path)
    reader = Reader(model, f"lm-eval:{name}")
    exam = _written(asked, reader) if asked.kind == "generate_until" else _scored(asked, reader)
    check_metrics(asked)
    if reader.shortened:
        warnings.warn(
            f"{exam.name}: {reader.shortened} contexts were longer than the {reader.max_length} tokens the model takes and lost "
            "their beginning",
            stacklevel=2,
        )
    return exam


def lm_eval_metrics(exam: TokenizedTask, answers: ContinuationScores) -> dict[str, float]:
    """Return every metric of a log-likelihood task under lm-eval's own name, such as ``perplexity``, ``acc`` or ``acc_norm``.

    Where a task has several filters a metric is named ``name,filter``, and that of the first filter ``name`` as well.
    """
    return exam.grade(answers).metrics


def _written(asked: LmEvalTask, reader: Reader) -> LmEvalGenerationTask:
    reader.refuse_too_long(asked.requests)
    terms = tuple(json.dumps(request.args, sort_keys=True, default=str) for request in asked.requests)
    items = tuple(TaskItem(str(requests[0].doc_id), (), None, ()) for requests in asked.documents)
    return LmEvalGenerationTask(f"lm-eval:{asked.name}", "written", 0.0, (), items, terms, asked, reader)


def _scored(asked: LmEvalTask, reader: Reader) -> LmEvalScoringTask:
    prompts: list[Prompt] = []
    places: list[tuple[Place, ...]] = []
    items: list[TaskItem] = []
    chances: list[float] = []
    plain = _plain(asked)
    pairs = iter(reader.pairs(asked.requests))
    for requests in asked.documents:
        at = _placed(list(islice(pairs, len(requests))), prompts)
        places += at
        choices, golds = _choices(asked, requests)
        # What a task asks besides its choices, as without their context, belongs to no question.
        own = [places[0] for places in at[:choices]] if asked.kind == "loglikelihood" else list(at[0])
        plain = plain and len(golds) == 1
        gold, lengths = (golds[0] if golds else None), _byte_lengths(asked, requests, choices)
        items.append(TaskItem(str(requests[0].doc_id), tuple(own), gold, lengths))
        chances.append(len(golds or [0]) / choices if choices > 1 else 0.0)
    kind: Literal["continuation", "choice", "rolling"] = "continuation"
    if asked.kind == "loglikelihood_rolling":
        kind = "rolling"
    elif any(len(question.choices) > 1 for question in items):
        kind = "choice"
    chance = sum(chances) / len(chances)
    return LmEvalScoringTask(
        f"lm-eval:{asked.name}",
        kind,
        chance,
        tuple(prompts),
        tuple(items),
        asked,
        tuple(places),
        by_task=not plain and kind != "rolling",
    )


def _placed(pairs: Sequence[Sequence[Pair]], prompts: list[Prompt]) -> list[tuple[Place, ...]]:
    """Add the pairs of one example to the prompts, those with the same context as one, and say where each came to stand."""
    first = len(prompts)
    followed: dict[Tokens, list[Tokens]] = {}
    places = []
    for windows in pairs:
        at = []
        for context, continuation in windows:
            known = followed.setdefault(context, [])
            if continuation not in known:
                known.append(continuation)
            at.append((first + list(followed).index(context), known.index(continuation)))
        places.append(tuple(at))
    prompts += [Prompt(context, tuple(continuations)) for context, continuations in followed.items()]
    return places


def _plain(asked: LmEvalTask) -> bool:
    """Whether the likeliest choice, or the greedy continuation, is what the task calls right."""
    task = asked.task
    return (
        isinstance(task, ConfigurableTask) and not callable(task.config.process_results) and not task.config.filter_list
    )


def _choices(asked: LmEvalTask, requests: Sequence[Instance]) -> tuple[int, list[int]]:
    """Return how many choices an example has, and which of them are right."""
    task, document = asked.task, requests[0].doc
    if not isinstance(task, ConfigurableTask) or task.OUTPUT_TYPE != "multiple_choice":
        alone = len(requests) == 1
        return len(requests), [0] if alone and asked.kind == "loglikelihood" else []
    choices = list(task.doc_to_choice(document))
    target: Any = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    targets = target if isinstance(target, list) else [target]
    numbers = [choices.index(right) if right in choices else -1 for right in targets if isinstance(right, str)]
    numbers += [int(right) for right in targets if isinstance(right, int)]
    golds = [number for number in numbers if 0 <= number < len(choices)]
    if not golds and not callable(task.config.process_results):
        # lm-eval counts it as answered wrongly, whatever the model says; and no loss can be had of it.
        raise TextsError(
            f"lm-eval:{asked.name} {requests[0].doc_id}: its right answer, {target!r}, is none of its {len(choices)} choices.\n"
            "Mend the data, or leave the example out (process_docs) in a definition of your own (--include-path)."
        )
    return len(choices), golds


def _byte_lengths(asked: LmEvalTask, requests: Sequence[Instance], choices: int) -> tuple[int, ...]:
    """Return the UTF-8 lengths of the choices as lm-eval takes them, without the space that it puts before them."""
    task = asked.task
    if isinstance(task, ConfigurableTask) and task.OUTPUT_TYPE == "multiple_choice":
        texts = list(task.doc_to_choice(requests[0].doc))
    else:
        texts = [str(request.args[-1]) for request in requests[:choices]]
    return tuple(max(1, len(text.encode())) for text in texts)
