"""Sweeps, whole: what is in the file, against each schedule evaluated alone; and going on after any interruption."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

import layerscope as ls
from layerscope.cli.result_warnings import warning_lines
from layerscope.errors import FileError, LayerScopeError, ModelError, ScheduleError, UsageError
from layerscope.evaluation import latency
from layerscope.evaluation import sweep as sweep_module
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.journal_file import journal_path
from layerscope.evaluation.load_task import load_task
from layerscope.evaluation.tasks.task import Example, Task
from layerscope.evaluation.tokenized_task import tokenize_task
from layerscope.models.length_dependence import LengthDependence
from layerscope.models.loading import load_model, wrap_module
from layerscope.models.model import Model
from layerscope.results import read_sweep
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.tree import new_block_calls
from layerscope.store.write_lock import WriteLock
from tests.evaluation.tiny_tasks import CHOICES, CLOZE, use_tiny_tasks
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

OPTIONS = {"variants": "all,drop", "seeds": 2, "loops": "1-2", "batch_tokens": 24, "bootstrap": 50}
TASKS = ["test:cloze", "test:choices"]


@pytest.fixture(scope="module")
def model() -> Model:
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny", fingerprint=lambda: "f00")


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_tasks(monkeypatch)


@pytest.fixture(scope="module")
def swept(model: Model, tmp_path_factory: pytest.TempPathFactory) -> xarray.Dataset:
    path = tmp_path_factory.mktemp("sweep") / "s.nc"
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_tasks(patch)
        returned = ls.sweep(model, TASKS, output=path, **OPTIONS)
    read = read_sweep(path)
    xarray.testing.assert_identical(returned.load().drop_attrs(), read.drop_attrs())
    assert sorted(file.name for file in path.parent.iterdir()) == ["s.nc"], "the journal is gone"
    return read


def test_the_contract(swept: xarray.Dataset) -> None:
    assert set(swept.dims) == {"task", "run", "example", "stage", "drift"}
    runs = 1 + 2 * (4 + 2 + 2) + 4
    assert swept.sizes["run"] == runs
    assert swept.task.values.tolist() == TASKS
    assert str(swept.schedule[0].values) == "identity"
    for name in ("start", "seed", "loops", "affected", "stages", "block_calls", "block_calls_alone"):
        assert np.issubdtype(swept[name].dtype, np.integer), name
        assert swept[name].dims == ("run",)
    for name in ("loss", "perplexity", "accuracy", "accuracy_norm", "normalized"):
        assert swept[name].dims == ("task", "run")
        assert swept[f"{name}_low"].dims == swept[f"{name}_high"].dims == ("task", "run")
    for name in ("drift_cosine_stage", "drift_norm_stage", "variance_stage"):
        assert swept[name].dims == ("task", "run", "stage")
        stages = np.arange(swept.sizes["stage"]) < swept.stages.values[:, None]
        assert (np.isfinite(swept[name].values) == stages[None]).all(), name
    assert swept.rank_correlation.dims == ("task", "drift")
    assert swept.examples.values.tolist() == [len(CLOZE.examples), len(CHOICES.examples)]
    ids = [[example.id for example in task.examples] for task in (CLOZE, CHOICES)]
    longest = max(map(len, ids))
    assert swept.example_id.values.tolist() == [names + [""] * (longest - len(names)) for names in ids]
    assert np.isnan(swept.example_loss.sel(task="test:choices").values[:, len(ids[1]) :]).all()
    assert np.isfinite(swept.example_loss.sel(task="test:choices").values[:, : len(ids[1])]).all()
    assert all(isinstance(value, str | int | float | np.integer) for value in swept.attrs.values())
    json.loads(swept.attrs["provenance"])


def test_the_columns_of_the_runs(swept: xarray.Dataset) -> None:
    schedules = [parse_schedule(str(spec), 4)[1] for spec in swept.schedule.values]
    assert swept.stages.values.tolist() == list(map(len, schedules))
    assert swept.block_calls.values.tolist() == new_block_calls(schedules)
    assert swept.block_calls_alone.values.tolist() == [schedule.block_calls for schedule in schedules]
    looped = swept.isel(run=(swept.schedule == "looped_parallel:1:loops=2").values).squeeze("run")
    assert (str(looped.variant.values), int(looped.start), int(looped.seed), int(looped.loops)) == (
        "looped_parallel",
        1,
        -1,
        2,
    )
    assert int(looped.affected) == 1
    full = swept.isel(run=0)
    assert (int(full.start), int(full.seed), int(full.loops), int(full.affected)) == (-1, -1, -1, 0)


@pytest.mark.parametrize("spec", ["identity", "skip:0", "random:0:seed=1", "looped_parallel:0:loops=2", "drop:3"])
@pytest.mark.parametrize("task", [CLOZE, CHOICES], ids=["continuation", "choice"])
def test_scores_are_those_of_evaluate(swept: xarray.Dataset, model: Model, task: Task, spec: str, monkeypatch) -> None:
    from layerscope.evaluation import evaluate as evaluate_module

    monkeypatch.setattr(evaluate_module, "load_task", lambda *_: tokenize_task(task, model))
    monkeypatch.setattr(evaluate_module, "check_names", lambda *_: None)
    alone = ls.evaluate(model, task.name, spec, batch_tokens=24)
    run = swept.sel(task=task.name).isel(run=(swept.schedule == spec).values).squeeze("run")
    for name, value in alone["metrics"].items():
        assert float(run[name]) == pytest.approx(value, rel=1e-9), name
    assert alone["examples"] == len(task.examples)


def test_scores_follow_from_the_example_losses(swept: xarray.Dataset) -> None:
    for task in (CLOZE, CHOICES):
        one = swept.sel(task=task.name).isel(example=slice(len(task.examples)))
        np.testing.assert_allclose(one.loss, one.example_loss.mean("example"))
        nats = (one.example_loss * one.target_tokens).mean("example")
        if task.kind == "continuation":
            np.testing.assert_allclose(one.perplexity, np.exp(nats))
            assert np.isnan(one.byte_perplexity).all()
        else:
            np.testing.assert_allclose(one.perplexity, np.exp(nats / one.target_tokens.mean()))
            sizes = [len(example.choices[example.gold].strip().encode()) for example in task.examples]
            assert one.target_bytes.values.tolist() == sizes
            np.testing.assert_allclose(one.byte_perplexity, np.exp(nats / np.mean(sizes)))
            np.testing.assert_allclose(one.bits_per_byte, nats / np.mean(sizes) / np.log(2))
            assert ((one.perplexity_low <= one.perplexity) & (one.perplexity <= one.perplexity_high)).all()
        assert str(one.kind.values) == task.kind
        assert float(one.normalized[0]) == 1.0 or np.isnan(one.normalized).all()
        assert ((one.loss_low <= one.loss + 1e-12) & (one.loss <= one.loss_high + 1e-12)).all()
        assert float(one.loss_difference_low[0]) == float(one.loss_difference_high[0]) == 0.0, "paired with itself"
        chance = 0.0 if task.kind == "continuation" else np.mean([1 / len(e.choices) for e in task.examples])
        assert float(one.chance) == pytest.approx(chance)
        full = float(one.accuracy[0])
        if full > chance:
            np.testing.assert_allclose(one.normalized, (one.accuracy - chance) / (full - chance))
    assert np.isnan(swept.accuracy_norm.sel(task="test:cloze")).all()
    assert np.isfinite(swept.accuracy_norm.sel(task="test:choices")).all()


def test_the_full_model_does_not_drift_and_equal_schedules_are_equal(swept: xarray.Dataset) -> None:
    assert (swept.drift_cosine[:, 0] == 0).all()
    assert (swept.drift_norm[:, 0] == 0).all()
    np.testing.assert_allclose(swept.drift_cka[:, 0], 0, atol=1e-6)  # from float32 products
    same = (swept.schedule == "reverse:1").values  # one block affected: the full model
    assert (swept.drift_norm[:, same] == 0).all()
    assert (swept.example_loss[:, same].values[np.isfinite(swept.example_loss[:, same].values)] > 0).all()
    np.testing.assert_array_equal(swept.loss[:, same].values[:, 0], swept.loss[:, 0].values)
    assert swept.block_calls[same].values.tolist() == [0]
    assert (swept.drift_norm[:, ~same].values[:, 1:] >= 0).all()


def test_the_variance_of_a_stage_is_that_of_its_states(swept: xarray.Dataset, model: Model) -> None:
    import torch

    exam = tokenize_task(CLOZE, model)
    states = []
    with ls.scheduled(model, "reverse:0") as schedule, torch.no_grad():
        pass
    for prompt in exam.prompts:
        ids = torch.tensor([[*prompt.context, *prompt.continuations[0][:-1]]])
        kept: list[torch.Tensor] = []
        with ls.scheduled(model, schedule, lambda _, stream, kept=kept: kept.append(stream[0, 1:])), torch.no_grad():
            model.trunk(ids)
        states.append(torch.stack(kept[1:]))
    expected = torch.cat(states, dim=1).double().var(1, correction=0).mean(-1)
    run = swept.sel(task="test:cloze").isel(run=(swept.schedule == "reverse:0").values).squeeze("run")
    np.testing.assert_allclose(run.variance_stage[: len(expected)], expected, rtol=1e-5)


def test_the_grid(swept: xarray.Dataset) -> None:
    grid = ls.sweep_grid(swept)
    assert set(grid.loss.dims) == {"task", "variant", "start", "seed", "loops"}
    for number in (1, 5, 9):
        run = swept.isel(run=number)
        cell = grid.loss.sel(
            variant=str(run.variant.values), start=int(run.start), seed=int(run.seed), loops=int(run.loops)
        )
        np.testing.assert_array_equal(cell, run.loss)


def equal_but_for_time(one: xarray.Dataset, other: xarray.Dataset) -> None:
    xarray.testing.assert_identical(one.drop_vars("seconds").drop_attrs(), other.drop_vars("seconds").drop_attrs())


def interrupted(
    monkeypatch: pytest.MonkeyPatch, after: int, model: Model, path: Path, **options: int
) -> list[tuple[object, ...]]:
    """Interrupt a sweep after some entries of its journal; return them."""
    added: list[tuple[object, ...]] = []
    add = Journal.add

    def failing(self: Journal, *arguments: object) -> None:
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(arguments[:3])
        add(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            ls.sweep(model, TASKS, output=path, **options, **OPTIONS)
    return added


@pytest.mark.parametrize("after", [0, 1, 2, 30, 60])
def test_an_interrupted_sweep_goes_on_without_repeating(
    after: int, swept: xarray.Dataset, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.nc"
    add, added = Journal.add, interrupted(monkeypatch, after, model, path)
    assert not path.exists()
    with pytest.raises(UsageError, match="an interrupted sweep is here: give --resume to continue"):
        ls.sweep(model, TASKS, output=path, **OPTIONS)
    again: list[tuple[object, ...]] = []
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", lambda self, *arguments: (again.append(arguments[:3]), add(self, *arguments))[1])
        result = ls.sweep(model, TASKS, output=path, resume=True, **OPTIONS)
    assert not set(added) & set(again), "finished work was repeated"
    equal_but_for_time(result, swept)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.nc"]


def test_a_killed_sweep_goes_on(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "load_task", load_task)
    path = tmp_path / "s.nc"
    command = [
        sys.executable,
        "-m",
        "layerscope",
        "sweep",
        str(tiny_folder),
        "--task",
        "builtin:cloze",
        "--limit",
        "12",
    ]
    command += ["--batch-tokens", "60", "--variants", "skip,random", "--bootstrap", "20", "--output", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while sum(file.stat().st_size for file in tmp_path.glob("s.nc.journal*")) < 200_000 and time.monotonic() < deadline:
        assert running.poll() is None, "finished before it could be killed"
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not path.exists()
    finished = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    same = {"limit": 12, "batch_tokens": 60, "variants": "skip,random", "bootstrap": 20}
    whole = ls.sweep(load_model(tiny_folder), "builtin:cloze", **same)
    killed = read_sweep(path)
    for name in ("example_loss", "loss", "drift_cosine", "drift_norm", "drift_cosine_stage", "variance_stage"):
        np.testing.assert_allclose(killed[name], whole[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_resuming(swept: xarray.Dataset, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.nc"
    small = {"variants": "skip", "bootstrap": 0}
    first = ls.sweep(model, "test:cloze", output=path, resume=True, **small)  # on none: starts
    with monkeypatch.context() as patch:
        patch.setattr("layerscope.evaluation.sweep_runner.score_task_batch", None)  # nothing is run again
        again = ls.sweep(model, "test:cloze", output=path, resume=True, **small)
    xarray.testing.assert_identical(first.drop_attrs(), again.drop_attrs())
    with pytest.raises(LayerScopeError, match=r"stored with runs .*, got .*\. Resume with the same settings"):
        ls.sweep(model, "test:cloze", output=path, resume=True, variants="reverse", bootstrap=0)
    with pytest.raises(LayerScopeError, match="stored with limit None, got 2"):
        ls.sweep(model, "test:cloze", output=path, resume=True, limit=2, **small)
    with pytest.raises(UsageError, match="exists already: give --overwrite"):
        ls.sweep(model, "test:cloze", output=path, **small)
    ls.sweep(model, "test:cloze", output=path, overwrite=True, limit=2, **small)
    assert read_sweep(path).examples.values.tolist() == [2]


def test_a_complete_sweep_is_known_without_loading_the_model(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "load_task", load_task)  # the built-in tasks, for once
    path = tmp_path / "s.nc"
    same = {
        "variants": "skip",
        "bootstrap": 5,
        "limit": 2,
        "output": path,
        "resume": True,
        "chance": {"builtin:cloze": 0.1},
    }
    first = ls.sweep(tiny_folder, **same)
    with monkeypatch.context() as patch:
        patch.setattr("layerscope.evaluation.sweep.as_model", None)
        xarray.testing.assert_identical(ls.sweep(tiny_folder, **same).drop_attrs(), first.drop_attrs())
        with pytest.raises(ScheduleError, match="start 2 leaves no block affected"):
            ls.sweep(tiny_folder, **same | {"starts": "2"})
    for other, message in [
        ({"limit": 3}, "stored with limit 2, got 3"),
        ({"variants": "reverse"}, "stored with runs identity, skip:0, skip:1, got identity, reverse:0"),
        ({"chance": {}}, "stored with chance "),
        ({"dtype": "bfloat16"}, "stored with dtype 'float32', got 'bfloat16'"),
    ]:
        with pytest.raises(LayerScopeError, match=message):
            ls.sweep(tiny_folder, **same | other)
    weights = tiny_folder / "config.json"
    weights.write_text(weights.read_text() + "\n")
    with pytest.raises(LayerScopeError, match="stored with weights 'sha256:"):
        ls.sweep(tiny_folder, **same)


def test_what_is_refused(model: Model, tmp_path: Path) -> None:
    for arguments, error, message in [
        ({"output": tmp_path}, UsageError, "is a directory"),
        ({"output": tmp_path / "none" / "s.nc"}, UsageError, "there is no folder"),
        ({"output": tmp_path / "s.nc", "resume": True, "overwrite": True}, UsageError, "exclude each other"),
        ({"starts": "2"}, ScheduleError, "start 2 leaves no block affected"),
        ({"variants": "skp"}, UsageError, "did you mean 'skip'"),
        ({"seed": -1}, UsageError, "seed -1: must be 0 or more"),
    ]:
        with pytest.raises(error, match=message):
            ls.sweep(model, "test:cloze", **{"bootstrap": 0, **arguments})
    encoder = wrap_module(tiny_module("bert"), word_tokenizer(), name="bert")
    with pytest.raises(ModelError, match="bert is an encoder"):
        ls.sweep(encoder, "test:cloze")
    assert list(tmp_path.iterdir()) == []


def test_given_chances(model: Model) -> None:
    found = ls.sweep(model, "test:choices", variants="skip", bootstrap=0, chance={"test:choices": 0.01}, output=None)
    assert found.chance.values.tolist() == [0.01]


def test_latency_is_measured_when_asked_for(model: Model, swept: xarray.Dataset) -> None:
    found = ls.sweep(model, "test:choices", variants="skip,reverse", starts="0", bootstrap=0, limit=1, latency=True)
    timed = np.isfinite(found.seconds_per_token.values)
    assert found.variant.values[timed].tolist() == ["identity", "skip"]
    assert found.stacked.values.tolist() == [0, 0, -1], "nothing is parallel, reverse is not timed"
    assert "seconds_per_token" not in swept
    assert "stacked" not in swept


def test_the_faster_way_of_a_parallel_stage_counts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        latency, "seconds_per_token", lambda *_, tokens: np.array([[3.0, np.nan], [2.0, 1.0], [4.0, 5.0]])
    )
    found = ls.sweep(
        model,
        "test:choices",
        variants="parallel,looped_parallel",
        starts="0",
        bootstrap=0,
        limit=1,
        latency=True,
        latency_tokens=5,
    )
    assert found.seconds_per_token.values.tolist() == [3.0, 1.0, 4.0]
    assert found.seconds_per_token.tokens == 5
    assert found.stacked.values.tolist() == [0, 1, 0]


def test_losses_that_are_not_finite_stop_the_sweep() -> None:
    import torch

    broken = wrap_module(tiny_module("llama"), word_tokenizer(), name="broken")
    with torch.no_grad():
        broken.blocks[2].mlp.down_proj.weight.fill_(torch.inf)
    with pytest.raises(LayerScopeError, match=r"is not finite under the schedule"):
        ls.sweep(broken, "test:cloze", variants="skip", bootstrap=0)


def test_an_example_too_long_is_shortened_and_said() -> None:
    model = wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")
    long = Task("long", "continuation", "", (Example("a", " ".join(["w1"] * 200), (" w2 w3",)),))
    with pytest.warns(UserWarning, match="1 of 1 contexts truncated on the left to fit 64 tokens"):
        exam = tokenize_task(long, model)
    assert exam.prompts[0].tokens == 64
    impossible = Task("long", "continuation", "", (Example("a", "w1", (" w2" * 70,)),))
    with pytest.raises(LayerScopeError, match="a continuation is longer than the limit of 64 tokens"):
        tokenize_task(impossible, model)


def test_a_sweep_bootstrapped_from_few_replicates_carries_a_warning(model: Model) -> None:
    few, enough = (ls.sweep(model, TASKS, **OPTIONS | {"variants": "skip", "bootstrap": count}) for count in (5, 39))
    said = "loss, perplexity" in " ".join(warning_lines(few)) and "and this one has 5" in " ".join(warning_lines(few))
    assert said, warning_lines(few)
    assert warning_lines(enough) == []


@pytest.mark.parametrize("option", ["overwrite", "resume"])
def test_a_sweep_locks_its_output_before_it_touches_the_journal(model: Model, tmp_path: Path, option: str) -> None:
    target = tmp_path / "s.nc"
    journal = journal_path(target)
    journal.write_text("of a sweep that begins just now")
    with WriteLock(target, "sweep"), pytest.raises(FileError, match=f"another sweep is writing {target}\nwait for it"):
        ls.sweep(model, TASKS, output=target, **OPTIONS, **{option: True})
    assert journal.read_text() == "of a sweep that begins just now"
    ls.sweep(model, TASKS, output=target, **OPTIONS | {"variants": "skip"}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def test_a_sweep_on_a_file_system_without_locks_warns_once(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with pytest.warns(UserWarning, match="has no locks") as caught:
        ls.sweep(model, TASKS, output=tmp_path / "s.nc", **OPTIONS | {"variants": "skip"})
    assert len([one for one in caught if "has no locks" in str(one.message)]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def test_the_journal_of_a_finished_sweep_is_removed_unless_the_sweep_still_runs(model: Model, tmp_path: Path) -> None:
    target, options = tmp_path / "s.nc", OPTIONS | {"variants": "skip"}
    ls.sweep(model, TASKS, output=target, **options)
    journal = journal_path(target)
    journal.write_text("of the sweep that has just finished the file")
    with WriteLock(target, "sweep"):
        ls.sweep(model, TASKS, output=target, resume=True, **options)
        assert journal.exists()
    ls.sweep(model, TASKS, output=target, resume=True, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def equal_but_for_rounding(found: xarray.Dataset, expected: xarray.Dataset) -> None:
    assert set(found.variables) == set(expected.variables)
    for name in set(found.data_vars) - {"seconds"}:
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=str(name))
        else:
            xarray.testing.assert_equal(found[name], expected[name])


@pytest.mark.parametrize("fuse", [2, 16])
def test_fused_schedules_have_the_values_of_single_ones(model: Model, swept: xarray.Dataset, fuse: int) -> None:
    found = ls.sweep(model, TASKS, fuse=fuse, **OPTIONS)
    equal_but_for_rounding(found, swept)
    assert (found.seconds >= 0).all()


@pytest.mark.parametrize("after", [0, 1, 30])
def test_an_interrupted_fused_sweep_continues(
    after: int, model: Model, swept: xarray.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, after, model, tmp_path / "s.nc", fuse=4)
    with pytest.raises(LayerScopeError, match="stored with fuse 4"):
        ls.sweep(model, TASKS, output=tmp_path / "s.nc", resume=True, **OPTIONS)
    equal_but_for_rounding(ls.sweep(model, TASKS, output=tmp_path / "s.nc", resume=True, fuse=4, **OPTIONS), swept)


def test_what_cannot_be_fused_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match="fuse 0: must be 1 or more"):
        ls.sweep(model, TASKS, fuse=0, **OPTIONS)
    model = replace(model, length_dependence=LengthDependence(alone=True))
    with pytest.raises(ModelError, match="--fuse 2: its states depend on the other texts of a batch"):
        ls.sweep(model, TASKS, fuse=2, **OPTIONS)
