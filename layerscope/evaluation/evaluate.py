"""One model, one schedule, one task: its scores."""

import json
import os
from typing import Any

import numpy as np

from layerscope.arguments import checked
from layerscope.errors import at_least
from layerscope.evaluation.example_scores import score_examples
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.load_task import check_names, load_task, versions
from layerscope.evaluation.task_scores import perplexities
from layerscope.evaluation.task_scoring import score_task
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.models.loading import load_model
from layerscope.models.logits import require_vocabulary_head
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import ScheduleLike, as_spec

__all__ = ["evaluate"]


@checked
def evaluate(
    model: Model | str | os.PathLike[str],
    task: str,
    schedule: ScheduleLike = "identity",
    *,
    limit: int | None = None,
    include_path: str | os.PathLike[str] | None = None,
    batch_tokens: int = 2048,
    dtype: str = "float32",
    device: str = "cpu",
) -> dict[str, Any]:
    """Score a model on a task under a schedule.

    Parameters
    ----------
    model
        A decoder, or what `layerscope.load_model` takes.
    task
        ``builtin:NAME`` or ``lm-eval:NAME``.
    schedule
        A SPEC, or stages of block numbers.
    limit
        Take the first so many examples.
    include_path
        A folder of task definitions for lm-eval.
    batch_tokens
        Tokens of a batch, padding included.
    dtype, device
        How to load a model that is given by name.

    Returns
    -------
    dict
        ``model``, ``task``, ``schedule`` (canonical SPEC), ``examples`` (how many), ``metrics`` and ``provenance``. Metrics:
        ``loss``, the mean over examples of nats a token of the right choice; ``perplexity``, exp of the mean over examples of its
        summed nats; ``accuracy``. With several choices, and for whole texts, ``perplexity`` is that of a token: exp of all nats
        over all tokens. These also have ``byte_perplexity`` and ``bits_per_byte``, and choices ``accuracy_norm``, likelihoods
        taken a byte. For an lm-eval task also every metric of lm-eval, under its own name.

    Raises
    ------
    UsageError
        An unknown task, a malformed schedule.
    ModelError
        An encoder, or a model without a vocabulary head.
    ScheduleError
        The schedule is not valid for a model of this depth.
    CaptureError
        Scores that are not finite.
    """
    at_least(1, batch_tokens=batch_tokens)
    check_names([task], include_path)
    spec = as_spec(schedule)
    model = model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
    require_vocabulary_head(model)
    stages = spec.schedule(model.depth)
    exam = load_task(task, model, limit, include_path)
    return {
        "model": model.name,
        "task": exam.name,
        "schedule": str(spec),
        "examples": len(exam.items),
        "metrics": _metrics(model, exam, stages, batch_tokens),
        "provenance": json.loads(
            provenance(weights=model.fingerprint(), schedule_blocks=str(stages), **versions([task]))
        ),
    }


def _metrics(model: Model, exam: TokenizedTask, schedule: Schedule, batch_tokens: int) -> dict[str, float]:
    if isinstance(exam, GenerationTask):
        with progress("writing", total=len(exam.items), unit="answers") as advance:
            grades = exam.run(model, schedule, advance)
        metrics = {"accuracy": float(grades.accuracy.mean())}
    else:
        answers = score_task(model, exam, [schedule], batch_tokens)[0]
        judgement, grades = score_examples(exam, answers), exam.grade(answers)
        sizes = [None if size is None else size.mean() for size in exam.sizes]
        metrics = {
            "loss": float(judgement.loss.mean()),
            **{name: float(value) for name, value in perplexities(judgement.nats.mean(), *sizes).items()},
            "accuracy": float(judgement.accuracy.mean()),
            "accuracy_norm": float(judgement.accuracy_norm.mean()),
        }
    # What a task has not (nothing to choose from, no right answer known) is left out; its own metrics have the last word.
    return {name: value for name, value in (metrics | grades.metrics).items() if np.isfinite(value)}
