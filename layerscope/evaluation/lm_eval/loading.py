"""Load a task of lm-eval and build its requests, as ``lm_eval.simple_evaluate`` does.

Any failure becomes an error of one or two lines with a remedy. This module knows lm-eval, not models.
"""

from pathlib import Path
from typing import Any

from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from layerscope.errors import LayerScopeError, TextsError
from layerscope.evaluation.lm_eval.index import find_definition
from layerscope.evaluation.lm_eval.isolation import RandomState, seeded, silent
from layerscope.evaluation.lm_eval.lm_eval_task import LmEvalTask

__all__ = ["FEWSHOT_SEED", "describe_error", "load_lm_eval_task"]

FEWSHOT_SEED = 1234  # the default of simple_evaluate


def load_lm_eval_task(name: str, limit: int | None, include_path: Path | None) -> LmEvalTask:
    """Load a task by its lm-eval name and build its requests.

    Raises
    ------
    UsageError
        The task is unknown, or is a group of tasks.
    TextsError
        Its data cannot be read, or it is of a kind that cannot be run.
    """
    path = find_definition(name, include_path)
    with silent(), seeded():
        task = _task(name, path)
        task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        random_state = RandomState.now()
        try:
            task.build_all_requests(limit=limit)
        except Exception as error:
            raise TextsError(f"lm-eval:{name}: lm-eval cannot build its prompts ({describe_error(error)})") from error
    requests = tuple(request for request in task.instances for _ in range(request.repeats))
    kinds = sorted({request.request_type for request in requests})
    if len(kinds) > 1:
        raise TextsError(f"lm-eval:{name} mixes {' and '.join(kinds)}: LayerScope runs tasks of one kind")
    return LmEvalTask(name, task, limit, requests, random_state)


def _task(name: str, path: Path) -> Task:
    try:
        task = next(iter(TaskManager(include_defaults=False).load([str(path)])["tasks"].values()))
    except LayerScopeError:
        raise
    except Exception as error:
        raise TextsError(_remedy(name, path, error)) from error
    if getattr(task, "UNSAFE_CODE", False):
        raise TextsError(f"lm-eval:{name} runs code that the model generates: LayerScope does not")
    if getattr(task, "MULTIMODAL", False):
        raise TextsError(f"lm-eval:{name} shows the model more than text: LayerScope does not")
    return task


def _remedy(name: str, path: Path, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"lm-eval:{name}: its definition needs packages that are not installed ({describe_error(error)})"
    if not isinstance(error, OSError):
        reason = describe_error(error.__cause__ or error)
        return f"lm-eval:{name}: lm-eval cannot load {path.name} ({reason}): check the file and its data"
    return (
        f"lm-eval:{name}: its data cannot be read ({describe_error(error)}).\n"
        "Download it once with the hub in reach and HF_HUB_OFFLINE unset, or define the task over a local file "
        f"(dataset_path: json, data_files: …) and give its folder with --include-path; {path.name} shows the definition."
    )


def describe_error(error: BaseException) -> str:
    """Return the class of an error and the beginning of its text, as one line."""
    text: Any = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
