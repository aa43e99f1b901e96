"""lm-eval grades answers: its filters, metrics and aggregation, by its own ``evaluate``, on answers that are there already.

Knows lm-eval; knows no model.
"""

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
from layerscope.evaluation.lm_eval.loading import FEWSHOT_SEED, LmEvalTask, described

__all__ = ["check_metrics", "grade"]

Response = tuple[float, bool] | float | str

_MAIN = ("acc", "exact_match")
_MOST_PATTERNS = 4


class _Answering(LM):  # type: ignore[misc]  # lm-eval comes without types
    """A model that has its answers ready."""

    def __init__(self, asked: LmEvalTask, responses: Sequence[Response]) -> None:
        super().__init__()
        self._asked, self._responses = asked, responses

    def _answers(self, requests: Sequence[Instance]) -> list[Response]:
        before = [request.args for request in self._asked.requests]
        if before != [request.args for request in requests]:
            raise LayerScopeError(f"lm-eval:{self._asked.name} asks other questions each time: it cannot be graded")
        return list(self._responses)

    loglikelihood = loglikelihood_rolling = generate_until = _answers


def grade(asked: LmEvalTask, responses: Sequence[Response]) -> TaskMetrics:
    """Let lm-eval grade the responses to all requests of a task.

    Parameters
    ----------
    asked
        The task and its requests.
    responses
        To each request: log-likelihood and whether it is greedy; the log-likelihood of a text; or a text.

    Returns
    -------
    TaskMetrics
        Metrics under lm-eval's names; where a task has several filters, as ``exact_match,strict-match``, and the main filter's
        (the first) as ``exact_match`` too. The accuracy of an example is its ``acc``, else its ``exact_match``, else the first
        metric that is a number; NaN without.

    Raises
    ------
    TextsError
        A metric of the task cannot be computed of these responses.
    """
    task = asked.task
    with silent(), seeded(asked.numbers), _translated(asked):
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        found: Any = lm_eval.evaluator.evaluate(
            lm=_Answering(asked, responses),
            task_dict={"tasks": {task.task_name: task}},
            limit=asked.limit,
            bootstrap_iters=0,
        )
    filters = list(dict.fromkeys(sample["filter"] for sample in found["samples"][task.task_name]))
    return TaskMetrics(
        _metrics(found["results"][task.task_name], filters),
        _accuracy([sample for sample in found["samples"][task.task_name] if sample["filter"] == filters[0]]),
    )


def check_metrics(asked: LmEvalTask) -> None:
    """Grade made-up answers, so that a metric that cannot be computed is found before the model runs.

    Raises
    ------
    TextsError
        A metric of the task cannot be computed.
    """
    patterns = 1
    if asked.kind == "loglikelihood":  # each choice is once the answer to each example: a metric may need more classes
        patterns = min(max(map(len, asked.documents)), _MOST_PATTERNS)
    for pattern in range(patterns):
        grade(asked, _made_up(asked, pattern))


def _made_up(asked: LmEvalTask, pattern: int) -> list[Response]:
    responses: list[Response] = []
    for number, requests in enumerate(asked.documents):
        if asked.kind == "generate_until":
            target = asked.task.doc_to_target(requests[0].doc)
            responses += [str(target[0] if isinstance(target, list) and target else target)] * len(requests)
        elif asked.kind == "loglikelihood_rolling":
            responses += [-10.0] * len(requests)
        else:
            chosen = (number + pattern) % len(requests)
            responses += [(-1.0, True) if place == chosen else (-9.0, False) for place in range(len(requests))]
    return responses


class _MetricError(Exception):
    """An aggregation that failed: the name of its metric, and why as the cause."""


@contextmanager
def _translated(asked: LmEvalTask) -> Iterator[None]:
    """Turn whatever a task's metrics raise into one line that names the task and the metric."""
    task = asked.task
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
        raise TextsError(_remedy(asked, f"metric {error} cannot be computed", error.__cause__ or error)) from error
    except Exception as error:
        raise TextsError(_remedy(asked, f"metrics ({', '.join(own())}) cannot grade an answer", error)) from error
    finally:
        del task.aggregation


def _remedy(asked: LmEvalTask, what: str, error: BaseException) -> str:
    return (
        f"lm-eval:{asked.name}: its {what} ({described(error)}).\n"
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
