"""Tasks of lm-eval through the bridge, against lm-eval's own model run on the same module under the same schedule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerscope.evaluation.evaluate import answer, evaluate
from layerscope.evaluation.exam import judge
from layerscope.evaluation.exams import load_exam
from layerscope.evaluation.lm_eval_quiet import silent
from layerscope.evaluation.sweep import sweep
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.schedules.spec import parse_schedule
from tests.evaluation.lm_eval_tasks import write_tasks
from tests.families import DEPTH, tiny_module
from tests.tokenizers import word_tokenizer

SPECS = ["identity", "skip:0", "looped_parallel:0:loops=2"]
SCORED = ["tiny_last_word", "tiny_question", "tiny_blank", "tiny_several_right", "tiny_own_results", "tiny_page"]
TASKS = [*SCORED, "tiny_sum"]


@pytest.fixture(scope="module")
def model() -> Model:
    tokenizer = word_tokenizer()
    tokenizer.eos_token = "w94"  # lm-eval begins a text without context with the token that ends one
    return wrap_module(tiny_module("llama"), tokenizer, name="tiny", fingerprint=lambda: "f00")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def of_lm_eval(model: Model, task: str, folder: Path, schedule: str, limit: int | None = None) -> dict[str, Any]:
    """Everything lm-eval says of the scheduled module, by its own means alone."""
    with silent():
        import lm_eval
        import lm_eval.evaluator
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        lm_eval.evaluator.add_env_info = lambda results: None  # which else lists every package of the machine
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        with scheduled(model, schedule):
            own = HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=3)
            found = lm_eval.simple_evaluate(
                model=own, tasks=[task], task_manager=manager, bootstrap_iters=0, limit=limit
            )
    assert found is not None
    return {"results": found["results"][task], "samples": found["samples"][task]}


def metrics_of(results: dict[str, Any]) -> dict[str, float]:
    return {
        key: value for key, value in results.items() if "," in key and "stderr" not in key and not isinstance(value, str)
    }


@pytest.mark.parametrize("schedule", SPECS)
@pytest.mark.parametrize("task", TASKS)
def test_equals_lm_eval(model: Model, folder: Path, task: str, schedule: str) -> None:
    expected = metrics_of(of_lm_eval(model, task, folder, schedule)["results"])
    found = evaluate(model, f"lm-eval:{task}", schedule, include_path=folder)["metrics"]
    assert expected
    for key, value in expected.items():
        name = key.removesuffix(",none") if task != "tiny_sum" else key
        assert found[name] == pytest.approx(value, rel=1e-5), key
