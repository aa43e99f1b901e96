"""Models that accelerate spreads over devices and disk."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, disk_offload

import layerscope as ls
from layerscope.errors import CaptureError, ModelError, UsageError
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = ["w5 w6 w7 w8", "w9 w10"]
MIXED = {
    "model.embed_tokens": "disk",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.layers.3": "cpu",
    "model.norm": "disk",
    "model.rotary_emb": "cpu",
    "lm_head": "disk",
}


def states(model, path, **options):
    ls.capture(model, TEXTS, path, overwrite=True, **options)
    return torch.from_numpy(ls.open_capture(path).hidden.load().values)


@pytest.mark.parametrize("device_map", ["auto", {"": "disk"}, {"model": "cpu", "lm_head": "disk"}, MIXED])
def test_a_spread_model_gives_the_states_of_one_device(tiny_folder, tmp_path, device_map):
    alone, spread = ls.load_model(tiny_folder), ls.load_model(tiny_folder, device_map=device_map)
    assert spread.fingerprint() == alone.fingerprint()
    for schedule in ("identity", "0 (1|2) 3"):
        found, wanted = (states(model, tmp_path / "run.h5", schedule=schedule) for model in (spread, alone))
        torch.testing.assert_close(found, wanted)
    asked = {"schedule": "0 (1|2) 3", "max_new_tokens": 3}
    assert ls.generate(spread, "w5 w6", stacked=True, **asked) == ls.generate(alone, "w5 w6", **asked)


def test_a_model_that_was_offloaded_in_memory_runs(tmp_path):
    wanted = ls.load_model(tiny_module("llama"), tokenizer=word_tokenizer())
    for offload in (
        lambda module: cpu_offload(module, "cpu"),
        lambda module: disk_offload(module, tmp_path / "off", "cpu"),
    ):
        model = ls.load_model(offload(tiny_module("llama")), tokenizer=word_tokenizer())
        torch.testing.assert_close(states(model, tmp_path / "a.h5"), states(wanted, tmp_path / "b.h5"))


def test_two_devices_give_what_one_gives(tmp_path):
    # In a process of its own: the second device is registered with torch for good.
    command = [sys.executable, "-W", "ignore", "-m", "tests.models.two_devices", str(tmp_path), "llama"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("backend", ["nnsight", "transformer-lens"])
def test_other_backends_refuse_a_spread_model_by_name(tiny_folder, tmp_path, backend):
    model = ls.load_model(tiny_folder, device_map={"": "disk"})
    with pytest.raises(CaptureError, match=f"the {backend} backend does not run a model that is spread over devices"):
        states(model, tmp_path / "run.h5", backend=backend)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device_map": "clever"}, "unknown device map 'clever'"),
        ({"device_map": {}}, "the device map is empty"),
        ({"device_map": {"nothing": "cpu"}}, "names 'nothing', which is no part of the model"),
        (
            {"device_map": {"": "cpu", "model.layers.1": "disk"}},
            "places 'model.layers.1' on disk and the whole model around it on cpu: name the parts of the whole model instead",
        ),
        ({"device_map": "auto", "device": "cpu"}, "--device and --device-map exclude each other"),
    ],
)
def test_wrong_maps_are_wrong_use(tiny_folder, options, said):
    with pytest.raises(UsageError, match=said):
        ls.load_model(tiny_folder, **options)


def test_the_examples_of_the_page_run(tiny_folder, tmp_path, monkeypatch):
    page = Path("docs/how-to/models-in-memory.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(re.sub(r'^path = ".*"', f'path = "{tiny_folder}"', block, flags=re.MULTILINE), names)
    ablated, on_disk = (ls.open_capture(tmp_path / name).hidden for name in ("ablated.h5", "disk.h5"))
    assert (ablated[:, :4] == on_disk[:, :4]).all(), "before the block that was changed"
    assert not (ablated[:, 4] == on_disk[:, 4]).all()


@pytest.mark.parametrize("number", [7, -1])
def test_the_number_of_an_accelerator_that_is_not_there(tiny_folder, number):
    with pytest.raises(ModelError, match=f"device .*{number}.* is not available on this machine"):
        ls.load_model(tiny_folder, device_map={"": number})
