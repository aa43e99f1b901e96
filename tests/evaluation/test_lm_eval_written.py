"""Tasks of generated text: what is written, batch by batch, and how it stands in a sweep."""

from pathlib import Path

import numpy as np
import pytest

import layerscope as ls
from layerscope.errors import LayerScopeError
from layerscope.evaluation.continuation_scores import TaskMetrics
from layerscope.evaluation.lm_eval.isolation import seeded
from layerscope.evaluation.lm_eval.model import LmEvalModel
from layerscope.evaluation.lm_eval.tokenization import LmEvalGenerationTask
from layerscope.evaluation.load_task import load_task
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from layerscope.results import read_sweep
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_schedule
from tests.evaluation.lm_eval_tasks import model_with_end, of_lm_eval, write_tasks
from tests.families import DEPTH

OPTIONS = {"variants": "skip,parallel", "starts": "all", "bootstrap": 20}


@pytest.fixture(scope="module")
def model() -> Model:
    return model_with_end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("schedule", ["identity", "looped_parallel:0:loops=2"])
def test_writes_what_lm_eval_writes(model: Model, folder: Path, schedule: str, together: int) -> None:
    exam = load_task("lm-eval:tiny_sum", model, None, folder)
    assert isinstance(exam, LmEvalGenerationTask)
    done: list[int] = []
    reader = LmEvalModel(model, exam.name, together)
    with scheduled(model, schedule):
        texts = reader.generate_answers(exam.source.requests, done.append)
    samples = of_lm_eval(model, "tiny_sum", folder, schedule, together=together)["samples"]
    assert texts == [sample["resps"][0][0] for sample in samples if sample["filter"] == "first"]
    assert any(text != texts[0] for text in texts)
    assert sum(done) == len(texts)
    assert max(done) == together
    assert not any(stop in text for text in texts for stop in (" w3", " w5"))


def test_samples_as_lm_eval_samples(model: Model, folder: Path) -> None:
    exam = load_task("lm-eval:tiny_vote", model, None, folder)
    assert isinstance(exam, LmEvalGenerationTask)
    assert len(exam.source.requests) == 2 * len(exam.items)
    grades = exam.run(model, parse_schedule("skip:0", DEPTH)[1])
    found = of_lm_eval(model, "tiny_vote", folder, "skip:0", together=16)
    with scheduled(model, "skip:0"), seeded():
        texts = exam.adapter.generate_answers(exam.source.requests, lambda answers: None)
    assert texts == [text for sample in found["samples"] for text in sample["resps"][0]]
    assert len(set(texts)) > len(exam.items)
    assert grades.metrics == {"exact_match": pytest.approx(found["results"]["exact_match,vote"])}


def test_a_sweep_of_every_kind_of_task(model: Model, folder: Path, tmp_path: Path) -> None:
    tasks = ["lm-eval:tiny_sum", "lm-eval:tiny_question", "lm-eval:tiny_page", "lm-eval:tiny_own_results"]
    table = ls.sweep(model, tasks, include_path=folder, output=tmp_path / "s.nc", **OPTIONS)
    assert table.schedule.values.tolist() == ["identity", "skip:0", "skip:1", "parallel:0", "parallel:1"]
    for run, schedule in enumerate(table.schedule.values.tolist()):
        found = of_lm_eval(model, "tiny_sum", folder, schedule, together=16)["results"]
        assert table.accuracy.values[0, run] == pytest.approx(found["exact_match,first"])
        own = of_lm_eval(model, "tiny_own_results", folder, schedule)["results"]
        assert table.accuracy.values[3, run] == pytest.approx(own["acc,none"])
    written, choice, page, graded = (table.isel(task=number) for number in range(4))
    for name in ("loss", "perplexity", "accuracy_norm", "drift_cosine", "drift_norm", "drift_cka", "example_loss"):
        assert np.isnan(written[name]).all(), name
        assert np.isfinite(choice[name]).all() or name == "drift_cka", name
    assert np.isnan(written.drift_cosine_stage).all()
    assert np.isfinite(page.loss).all()
    assert np.isnan(page.accuracy).all()
    assert np.isfinite(graded.loss).all()
    assert (table.seconds > 0).all()
    assert read_sweep(tmp_path / "s.nc").equals(table)


def test_an_interrupted_sweep_writes_nothing_twice(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ls.sweep(model, "lm-eval:tiny_sum", include_path=folder, **OPTIONS)
    run = LmEvalGenerationTask.run
    sat: list[Schedule] = []

    def interrupted(exam: LmEvalGenerationTask, model: Model, schedule: Schedule, *rest: object) -> TaskMetrics:
        sat.append(schedule)
        if len(sat) == 3:
            raise KeyboardInterrupt
        return run(exam, model, schedule, *rest)

    monkeypatch.setattr(LmEvalGenerationTask, "run", interrupted)
    output = tmp_path / "s.nc"
    with pytest.raises(KeyboardInterrupt):
        ls.sweep(model, "lm-eval:tiny_sum", include_path=folder, output=output, **OPTIONS)
    table = ls.sweep(model, "lm-eval:tiny_sum", include_path=folder, output=output, resume=True, **OPTIONS)
    assert len(sat) == 6  # five runs, one of them begun twice
    assert table.accuracy.equals(whole.accuracy)
    with pytest.raises(LayerScopeError, match="stored with limit None, got 3"):
        ls.sweep(model, "lm-eval:tiny_sum", include_path=folder, output=output, resume=True, limit=3, **OPTIONS)


def test_grades_are_of_each_example(model: Model, folder: Path) -> None:
    exam = load_task("lm-eval:tiny_sum", model, None, folder)
    assert isinstance(exam, LmEvalGenerationTask)
    grades = exam.run(model, parse_schedule("identity", DEPTH)[1])
    samples = of_lm_eval(model, "tiny_sum", folder, together=16)["samples"]
    assert grades.accuracy.tolist() == [sample["exact_match"] for sample in samples if sample["filter"] == "first"]
    assert set(grades.metrics) == {"exact_match", "exact_match,first", "exact_match,with_six"}
    assert grades.metrics["exact_match"] == grades.metrics["exact_match,first"]
