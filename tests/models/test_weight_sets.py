"""A folder with two sets of weights: refused if they differ, reported if they look equal."""

import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import layerscope as ls
from tests.families import tiny_module
from tests.models.folders import refusal


def said(folder) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ls.load_model(folder)
    return [str(warning.message) for warning in caught]


def test_the_same_weights_twice(tiny_folder):
    torch.save(tiny_module("llama").state_dict(), tiny_folder / "pytorch_model.bin")
    assert said(tiny_folder) == [
        "tiny-llama: the folder holds the weights twice; model.safetensors is used, pytorch_model.bin is not "
        "(the first 1,024 values of each tensor are equal)"
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_same_weights_in_another_precision(tiny_folder, dtype):
    torch.save(tiny_module("llama").to(dtype).state_dict(), tiny_folder / "pytorch_model.bin")
    assert "values of each tensor are equal" in said(tiny_folder)[0]


def test_other_weights_in_a_bin_file(tiny_folder):
    torch.save(tiny_module("llama", seed=1).state_dict(), tiny_folder / "pytorch_model.bin")
    assert "model.safetensors and pytorch_model.bin hold different weights, first in lm_head.weight" in refusal(
        tiny_folder
    )


def test_one_tensor_differs(tiny_folder):
    state = tiny_module("llama").state_dict()
    state["model.norm.weight"] += 0.01
    torch.save(state, tiny_folder / "pytorch_model.bin")
    assert "hold different weights, first in model.norm.weight" in refusal(tiny_folder)


def test_weights_of_another_shape(tiny_folder):
    torch.save(tiny_module("llama", hidden_size=16).state_dict(), tiny_folder / "pytorch_model.bin")
    assert "hold different weights, first in" in refusal(tiny_folder)


@pytest.mark.parametrize("seed", [0, 1])
def test_shards_and_one_file(sharded, tiny_folder, seed):
    """What a download of shards and a later save of one file leave; transformers reads the one file."""
    save_file(tiny_module("llama", seed=seed).state_dict(), sharded / "model.safetensors", metadata={"format": "pt"})
    if seed:
        assert "model.safetensors and model-00001-of-" in refusal(sharded)
    else:
        assert "model.safetensors is used, model-00001-of-" in said(sharded)[0]


def test_shards_of_which_one_is_missing_are_no_second_set(sharded, tiny_folder):
    shutil.copy(tiny_folder / "model.safetensors", sharded)
    next(sharded.glob("model-00002*")).unlink()
    assert said(sharded) == []


def test_names_that_are_not_the_same_cannot_be_compared(tiny_folder):
    weights = load_file(tiny_folder / "model.safetensors")
    torch.save({f"module.{name}": weight for name, weight in weights.items()}, tiny_folder / "pytorch_model.bin")
    assert "their tensors have other names, so they were not compared" in said(tiny_folder)[0]


def test_files_that_are_not_used_need_not_be_readable(tiny_folder):
    (tiny_folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    assert "pytorch_model.bin is not (it cannot be read: UnpicklingError)" in said(tiny_folder)[0]
