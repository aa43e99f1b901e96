"""Analyses whose large operations run on a device."""

import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

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


@pytest.mark.parametrize("into", [None, torch.empty(2, 2)])
def test_products_keep_their_digits_where_the_user_allows_fewer(monkeypatch, into):
    seen = []

    class Recorded(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.mm:
                seen.append([one.dtype for one in args])
            return function(*args, **(kwargs or {}))

    one = torch.tensor([[1 + 2.0**-20, 1.0], [3.0, 1.0]])
    for allowed in ("ieee", "tf32"):
        monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision=allowed))
        with Recorded(), device._Placement(torch.device("meta")):
            product = torch.mm(one, one, out=into)
        assert product is into or into is None
        assert product.dtype == torch.float32
        torch.testing.assert_close(product, one @ one)
    assert seen == [[torch.float32] * 2, [torch.float64] * 2]
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


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
