"""Analyses whose large operations run on a device."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import layerscope as ls
from layerscope.errors import ModelError
from layerscope.measures import device
from layerscope.measures.streaming import Statistics
from tests.cli.test_commands import run

ROOT = Path(__file__).parents[2]


def test_every_measure_has_the_same_value_on_another_device():
    # In a process of its own: the second device is registered with torch for good.
    command = [sys.executable, "-W", "ignore", "-m", "tests.measures.on_second_device"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_operation_that_does_not_fit_the_device_runs_on_the_host(monkeypatch):
    monkeypatch.setattr(device, "_LEAST_VALUES", 1)
    placed = []

    def moved(values, where):
        placed.append(where.type)
        if where.type == "meta":
            raise torch.OutOfMemoryError("too large")
        return values

    monkeypatch.setattr(device, "_moved", moved)
    one, other = torch.ones(2, 3), torch.full((3, 2), 2.0)
    with warnings.catch_warnings(record=True) as said, device._Placement(torch.device("meta")):
        warnings.simplefilter("always")
        product = one @ other
    assert torch.equal(product, torch.full((2, 2), 6.0))
    assert placed[0] == "meta"
    assert placed[-1] == "cpu"
    assert [str(each.message) for each in said] == ["meta is out of memory: a part is computed on the CPU"]


@pytest.fixture
def capture(tiny_folder, tmp_path):
    ls.capture(tiny_folder, ["w5 w6 w7", "w8 w9"], tmp_path / "run.h5")
    return tmp_path / "run.h5"


def test_a_device_that_is_not_there_is_refused(capture):
    with pytest.raises(ModelError, match="device 'cuda' is not available on this machine"):
        ls.analyze(capture, measures="norm", device="cuda")
    with pytest.raises(ModelError, match="device 'cuda' is not available on this machine"):
        Statistics("norm", device="cuda")
    assert "unknown device 'nowhere'" in run("analyze", capture, "--device", "nowhere", code=2)[1]


def test_a_device_without_float64_is_refused(monkeypatch):
    monkeypatch.setattr(device, "has_float64", lambda where: False)
    with (
        pytest.raises(ModelError, match="device 'meta' has no float64, in which sums are kept"),
        device.on_device(torch.device("meta")),
    ):
        pass


def test_the_device_is_recorded(capture):
    plain, named = ls.analyze(capture, measures="norm"), ls.analyze(capture, measures="norm", device="cpu")
    np.testing.assert_array_equal(plain["norm"], named["norm"])
    assert '"device": "cpu"' in plain.attrs["provenance"]
