"""Evaluate: the scores of one model on one task under one schedule."""

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
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.models.loading import ModelLike, as_model
from layerscope.models.logits import require_vocabulary_head
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import ScheduleLike, as_spec

__all__ = ["evaluate"]


@checked
def evaluate(
    model: ModelLike,
    task: str,
    schedule: ScheduleLike = "identity",
    *,
    limit: int | None = None,
    include_path: str | os.PathLike[str] | None = None,
    batch_tokens: int = 2048,
    dtype: str | None = None,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    stack: Stack | None = None,
) -> dict[str, Any]:
    """Score a model on a task under a schedule.

    Parameters
    ----------
    model
        A decoder: what `layerscope.capture` takes.
    task
        ``builtin:NAME`` or ``lm-eval:NAME``.
    schedule
        A SPEC, or stages of block numbers.
    limit
        Maximum number of examples.
    include_path
        Folder of task definitions for lm-eval.
    batch_tokens
        Maximum number of tokens in a batch, padding included.
    dtype, device, device_map, stack
        How to load a model that is given by name; see `layerscope.load_model`.

    Returns
    -------
    dict
        ``model``, ``task``, ``schedule`` (canonical SPEC), ``examples`` (how many), ``metrics`` and ``provenance``. Metrics:
        ``loss``, the mean over examples of nats per token of the right choice; ``perplexity``, exp of the mean over examples of
        its summed nats; ``accuracy``. With several choices, and for full texts, ``perplexity`` is per token: exp of all nats over
        all tokens. These tasks also have ``byte_perplexity`` and ``bits_per_byte``; tasks with choices have ``accuracy_norm``,
        from likelihoods per byte. An lm-eval task also has every metric of lm-eval, under its own name.

    Raises
    ------
    UsageError
        The task is unknown, or the schedule is malformed.
    ModelError
        The model is an encoder or has no vocabulary head.
    ScheduleError
        The schedule is not valid for a model of this depth.
    CaptureError
        A score is not finite.
    """
    at_least(1, batch_tokens=batch_tokens)
    check_names([task], include_path)
    spec = as_spec(schedule)
    model = as_model(model, dtype=dtype, device=device, device_map=device_map, stack=stack)
    model.require_tokenizer()
    require_vocabulary_head(model)
    stages = spec.schedule(model.depth)
    tokenized = load_task(task, model, limit, include_path)
    return {
        "model": model.name,
        "task": tokenized.name,
        "schedule": str(spec),
        "examples": len(tokenized.items),
        "metrics": _metrics(model, tokenized, stages, batch_tokens),
        "provenance": json.loads(
            provenance(weights=model.fingerprint(), schedule_blocks=str(stages), **versions([task]))
        ),
    }


def _metrics(model: Model, task: TokenizedTask, schedule: Schedule, batch_tokens: int) -> dict[str, float]:
    if isinstance(task, GenerationTask):
        with progress("generating", total=len(task.items), unit="answers") as advance:
            own = task.run(model, schedule, advance)
        metrics = {"accuracy": float(own.accuracy.mean())}
    else:
        scores = score_task(model, task, [schedule], batch_tokens)[0]
        examples, own = score_examples(task, scores), task.grade(scores)
        sizes = [None if size is None else size.mean() for size in task.sizes]
        metrics = {
            "loss": float(examples.loss.mean()),
            **{name: float(value) for name, value in perplexities(examples.nats.mean(), *sizes).items()},
            "accuracy": float(examples.accuracy.mean()),
            "accuracy_norm": float(examples.accuracy_norm.mean()),
        }
    # A metric that the task does not define is NaN and left out. The task's own metrics take precedence.
    return {name: value for name, value in (metrics | own.metrics).items() if np.isfinite(value)}
