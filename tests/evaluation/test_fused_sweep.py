"""Sweeps in which schedules run together: the same values, another order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

import layerscope as ls
from layerscope.errors import LayerScopeError, ModelError, UsageError
from layerscope.evaluation.journal import Journal
from layerscope.models.length_dependence import LengthDependence
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.evaluation.tiny_tasks import use_tiny_tasks
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

OPTIONS = {"variants": "all,drop", "seeds": 2, "loops": "1-2", "batch_tokens": 24, "bootstrap": 20}
TASKS = ["test:cloze", "test:choices"]


@pytest.fixture(scope="module")
def model() -> Model:
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny", fingerprint=lambda: "f00")


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_tasks(monkeypatch)


@pytest.fixture(scope="module")
def single(model: Model) -> xarray.Dataset:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_tasks(patch)
        return ls.sweep(model, TASKS, **OPTIONS)


def assert_equal(found: xarray.Dataset, expected: xarray.Dataset) -> None:
    assert set(found.variables) == set(expected.variables)
    for name in set(found.data_vars) - {"seconds"}:
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=str(name))
        else:
            xarray.testing.assert_equal(found[name], expected[name])


@pytest.mark.parametrize("fuse", [2, 16])
def test_all_values_are_those_of_a_plain_sweep(model: Model, single: xarray.Dataset, fuse: int) -> None:
    found = ls.sweep(model, TASKS, fuse=fuse, **OPTIONS)
    assert_equal(found, single)
    assert (found.seconds >= 0).all()


@pytest.mark.parametrize("after", [0, 1, 30])
def test_an_interrupted_sweep_continues(
    after: int, model: Model, single: xarray.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, add = [], Journal.add

    def failing(self: Journal, *arguments: object) -> None:
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(arguments[:3])
        add(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            ls.sweep(model, TASKS, output=tmp_path / "s.nc", fuse=4, **OPTIONS)
    with pytest.raises(LayerScopeError, match="stored with fuse 4"):
        ls.sweep(model, TASKS, output=tmp_path / "s.nc", resume=True, **OPTIONS)
    assert_equal(ls.sweep(model, TASKS, output=tmp_path / "s.nc", resume=True, fuse=4, **OPTIONS), single)


def test_what_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match="fuse 0: must be 1 or more"):
        ls.sweep(model, TASKS, fuse=0, **OPTIONS)
    model = replace(model, length_dependence=LengthDependence(alone=True))
    with pytest.raises(ModelError, match="--fuse 2: its states depend on the other texts of a batch"):
        ls.sweep(model, TASKS, fuse=2, **OPTIONS)
