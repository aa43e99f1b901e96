"""Grade answers with lm-eval: its filters, metrics and aggregation, by its own ``evaluate``. Knows lm-eval, not models."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import lm_eval.evaluator
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from layerscope.errors import LayerScopeError, TextsError
from layerscope.evaluation.continuation_scores import TaskMetrics
from layerscope.evaluation.lm_eval.isolation import seeded, silent
from layerscope.evaluation.lm_eval.lm_eval_task import LmEvalTask
from layerscope.evaluation.lm_eval.loading import FEWSHOT_SEED, describe_error

__all__ = ["check_metrics", "grade"]

Response = tuple[float, bool] | float | str

_MAIN = ("acc", "exact_match")
_MOST_PATTERNS = 4


class _FixedResponses(LM):  # type: ignore[misc]  # lm-eval comes without types
    """A model for lm-eval that returns given responses."""

    def __init__(self, source: LmEvalTask, responses: Sequence[Response]) -> None:
        super().__init__()
        self._task, self._responses = source, responses

    def _answers(self, requests: Sequence[Instance]) -> list[Response]:
        before = [request.args for request in self._task.requests]
        if before != [request.args for request in requests]:
            raise LayerScopeError(f"lm-eval:{self._task.name} builds other requests each time, so it cannot be graded")
        return list(self._responses)

    loglikelihood = loglikelihood_rolling = generate_until = _answers


def grade(source: LmEvalTask, responses: Sequence[Response]) -> TaskMetrics:
    """Grade the responses to all requests of a task.

    Parameters
    ----------
    source
        Task with its requests.
    responses
        Response to each request: log-likelihood and whether it is greedy; log-likelihood of a text; or a generated text.

    Returns
    -------
    TaskMetrics
        Metrics by lm-eval's names. In a task with several filters each is named as ``exact_match,strict-match``, and that of
        the first filter also as ``exact_match``. The accuracy of an example is its ``acc``, else its ``exact_match``, else its
        first numeric metric, else NaN.

    Raises
    ------
    TextsError
        A metric cannot be computed from these responses.
    """
    task = source.task
    with silent(), seeded(source.random_state), _translate_errors(source):
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        results: Any = lm_eval.evaluator.evaluate(
            lm=_FixedResponses(source, responses),
            task_dict={"tasks": {task.task_name: task}},
            limit=source.limit,
            bootstrap_iters=0,
        )
    filters = list(dict.fromkeys(sample["filter"] for sample in results["samples"][task.task_name]))
    return TaskMetrics(
        _metrics(results["results"][task.task_name], filters),
        _accuracy([sample for sample in results["samples"][task.task_name] if sample["filter"] == filters[0]]),
    )


def check_metrics(source: LmEvalTask) -> None:
    """Grade synthetic answers, to find a metric that cannot be computed before the model runs.

    Raises
    ------
    TextsError
        A metric of the task cannot be computed.
    """
    patterns = 1
    if source.kind == "loglikelihood":  # each choice is chosen once, because a metric may need several classes
        patterns = min(max(map(len, source.documents)), _MOST_PATTERNS)
    for pattern in range(patterns):
        grade(source, _synthetic_responses(source, pattern))


def _synthetic_responses(source: LmEvalTask, pattern: int) -> list[Response]:
    responses: list[Response] = []
    for number, requests in enumerate(source.documents):
        if source.kind == "generate_until":
            target = source.task.doc_to_target(requests[0].doc)
            responses += [str(target[0] if isinstance(target, list) and target else target)] * len(requests)
        elif source.kind == "loglikelihood_rolling":
            responses += [-10.0] * len(requests)
        else:
            choice = (number + pattern) % len(requests)
            responses += [(-1.0, True) if place == choice else (-9.0, False) for place in range(len(requests))]
    return responses


class _MetricError(Exception):
    """A failed aggregation: the name of its metric, with the error as cause."""


@contextmanager
def _translate_errors(source: LmEvalTask) -> Iterator[None]:
    """Turn any error of a task's metrics into one that names the task and the metric."""
    task = source.task
    own = task.aggregation

    def named(metric: str, aggregate: Callable[..., Any], items: Any) -> Any:
        try:
            return aggregate(items)
        except Exception as error:
            raise _MetricError(metric) from error

    task.aggregation = lambda: {metric: partial(named, metric, aggregate) for metric, aggregate in own().items()}
    try:
        yield
    except LayerScopeError:
        raise
    except _MetricError as error:
        raise TextsError(_remedy(source, f"metric {error} cannot be computed", error.__cause__ or error)) from error
    except Exception as error:
        raise TextsError(_remedy(source, f"metrics ({', '.join(own())}) cannot grade an answer", error)) from error
    finally:
        del task.aggregation


def _remedy(source: LmEvalTask, what: str, error: BaseException) -> str:
    return (
        f"lm-eval:{source.name}: its {what} ({describe_error(error)}).\n"
        "Choose another metric (metric_list) in a definition of your own (--include-path)."
    )


def _metrics(results: dict[str, Any], filters: Sequence[str]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for key, value in results.items():
        name, comma, chosen = key.partition(",")
        if not comma or name.endswith("_stderr") or not isinstance(value, int | float | np.number | np.bool_):
            continue
        if len(filters) > 1:
            metrics[key] = float(value)
        if chosen == filters[0]:
            metrics[name] = float(value)
    return metrics


def _accuracy(samples: Sequence[dict[str, Any]]) -> np.ndarray:
    ordered = sorted(samples, key=lambda sample: int(sample["doc_id"]))
    named = dict.fromkeys(name for sample in ordered for name in sample["metrics"])
    numbers = [
        name for name in named if all(isinstance(s.get(name), int | float | np.number | np.bool_) for s in ordered)
    ]
    main = next((name for name in _MAIN if name in numbers), numbers[0] if numbers else None)
    return np.array([np.nan if main is None else float(sample[main]) for sample in ordered])
