"""Tasks of lm-eval, loaded and asked for their requests as ``lm_eval.simple_evaluate`` does.

Whatever goes wrong in there becomes one or two lines with a remedy. Knows lm-eval; knows no model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from layerscope.errors import LayerScopeError, TextsError
from layerscope.evaluation.lm_eval.index import find_definition
from layerscope.evaluation.lm_eval.isolation import Randomness, seeded, silent

__all__ = ["FEWSHOT_SEED", "LmEvalTask", "described", "load_lm_eval_task"]

FEWSHOT_SEED = 1234  # the default of simple_evaluate


@dataclass(frozen=True)
class LmEvalTask:
    """A task of lm-eval and what it asks.

    Attributes
    ----------
    name
        As lm-eval knows it.
    task
        lm-eval's own object.
    limit
        The first so many examples; None for all.
    requests
        What it asks a model, in lm-eval's order, each as often as it is to be answered. All of one kind.
    numbers
        Where the generators of the process stood before the requests were built.
    """

    name: str
    task: Task
    limit: int | None
    requests: tuple[Instance, ...]
    numbers: Randomness

    @property
    def kind(self) -> str:
        """``loglikelihood``, ``loglikelihood_rolling`` or ``generate_until``."""
        return str(self.requests[0].request_type)

    @property
    def documents(self) -> list[list[Instance]]:
        """The requests of each example."""
        found: dict[int, list[Instance]] = {}
        for request in self.requests:
            found.setdefault(request.doc_id, []).append(request)
        return list(found.values())


def load_lm_eval_task(name: str, limit: int | None, include_path: Path | None) -> LmEvalTask:
    """Load a task by its lm-eval name and build its requests.

    Raises
    ------
    UsageError
        An unknown task, or a group of tasks.
    TextsError
        Its data cannot be had, or it is of a kind that cannot be run.
    """
    path = find_definition(name, include_path)
    with silent(), seeded():
        task = _task(name, path)
        task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        numbers = Randomness.now()
        try:
            task.build_all_requests(limit=limit)
        except Exception as error:
            raise TextsError(f"lm-eval:{name}: lm-eval cannot build its prompts ({described(error)})") from error
    requests = tuple(request for request in task.instances for _ in range(request.repeats))
    kinds = sorted({request.request_type for request in requests})
    if len(kinds) > 1:
        raise TextsError(f"lm-eval:{name} asks for {' and '.join(kinds)} at once: LayerScope runs tasks of one kind")
    return LmEvalTask(name, task, limit, requests, numbers)


def _task(name: str, path: Path) -> Task:
    try:
        task = next(iter(TaskManager(include_defaults=False).load([str(path)])["tasks"].values()))
    except LayerScopeError:
        raise
    except Exception as error:
        raise TextsError(_remedy(name, path, error)) from error
    if getattr(task, "UNSAFE_CODE", False):
        raise TextsError(f"lm-eval:{name} runs code that the model writes: LayerScope does not")
    if getattr(task, "MULTIMODAL", False):
        raise TextsError(f"lm-eval:{name} shows the model more than text: LayerScope does not")
    return task


def _remedy(name: str, path: Path, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"lm-eval:{name}: its definition needs more than is installed ({described(error)})"
    if not isinstance(error, OSError):
        said = described(error.__cause__ or error)
        return f"lm-eval:{name}: lm-eval cannot load {path.name} ({said}): look at it and at its data"
    return (
        f"lm-eval:{name}: its data cannot be had ({described(error)}).\n"
        "Fetch it once with the hub in reach and HF_HUB_OFFLINE unset, or define the task over a file of yours "
        f"(dataset_path: json, data_files: …) and give its folder with --include-path; {path.name} shows how it is made."
    )


def described(error: BaseException) -> str:
    """Return the class of an error and the beginning of its text, as one line."""
    said: Any = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:160]}"
