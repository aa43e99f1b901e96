"""Files of weights: which are read, and what they must hold."""

import json
import os
import shutil
import zipfile

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import layerscope as ls
from layerscope.models import folder
from tests.families import tiny_module
from tests.models.folders import change_json, refusal

# Files of weights


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("/dev/zero", "lists '/dev/zero', which is outside the model folder"),
        ("../sharded/model-00001.safetensors", "which is outside the model folder"),
        ("sub/../../x.safetensors", "which is outside the model folder"),
        ("model-00099.safetensors", "lists model-00099.safetensors, which is not in the folder: fetch that file"),
        ("a\0b", "which is outside the model folder"),
        (7, "has no weight_map from weights to files"),
    ],
)
def test_an_index_that_lists_what_it_should_not(sharded, listed, said):
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.norm.weight"] = listed
    index.write_text(json.dumps(content))
    assert said in refusal(sharded)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_is_none(sharded, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(sharded)


def test_a_shard_that_is_a_pipe(sharded):
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    os.mkfifo(shard)
    assert "is a named pipe" in refusal(sharded)


@pytest.mark.parametrize("same", [True, False])
def test_a_weight_in_two_shards_must_have_one_value(sharded, same):
    one, two = sorted(sharded.glob("model-*.safetensors"))[:2]
    name, value = next(iter(load_file(one).items()))
    save_file(load_file(two) | {name: value if same else value + 1}, two, metadata={"format": "pt"})
    if same:
        assert ls.load_model(sharded).depth == 4
    else:
        assert f"{one.name} and {two.name} have different values of {name}" in refusal(sharded)


def test_a_distributed_checkpoint_is_none_of_ours(tiny_folder):
    shutil.copy(tiny_folder / "model.safetensors", tiny_folder / "shard-00000-model-00000-of-00001.safetensors")
    assert "has a distributed checkpoint" in refusal(tiny_folder)


def test_a_folder_without_weights_says_so(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    assert "has no weights: none of model.safetensors, " in refusal(tiny_folder)
    (tiny_folder / "tiny.Q4.gguf").touch()
    assert refusal(tiny_folder).endswith("give one of its GGUF files instead (tiny.Q4.gguf)")


def test_a_folder_of_something_else_says_so(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} has no config.json, so it is not a model folder"


# Quantised weights, unreadable files


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_quantised_weights_say_what_they_need(tiny_folder, method):
    settings = {"quant_method": method, "bits": 4, "load_in_4bit": method == "bitsandbytes"}
    change_json(tiny_folder / "config.json", quantization_config=settings)
    message = refusal(tiny_folder)
    assert f"the weights are quantised ({method}): install what it needs, or give the plain model" in message
    assert "fetch it again" not in message


def test_a_quantisation_that_transformers_does_not_know_is_refused(tiny_folder):
    change_json(tiny_folder / "config.json", quantization_config={"quant_method": "abacus"})
    assert refusal(tiny_folder).endswith("are quantised (abacus), which transformers cannot read: give the plain model")


def test_fp8_weights_with_their_scales_load_as_plain_numbers(tiny_folder):
    """transformers multiplies each block of weights with its scale, where there is no device for FP8."""
    path, scales, plain = tiny_folder / "model.safetensors", {}, {}
    for name, value in load_file(path).items():
        plain[name] = value
        if "proj" in name:
            plain[name] = (value / value.abs().max() * 400).to(torch.float8_e4m3fn)
            scales[f"{name}_scale_inv"] = torch.full(
                [-(-size // 16) for size in value.shape], float(value.abs().max()) / 400
            )
    save_file(plain | scales, path, metadata={"format": "pt"})
    assert "28 not used (model.layers.*.mlp.down_proj.weight_scale_inv (4)" in refusal(tiny_folder)
    settings = {"quant_method": "fp8", "weight_block_size": [16, 16], "activation_scheme": "dynamic"}
    change_json(tiny_folder / "config.json", quantization_config=settings)
    loaded = ls.load_model(tiny_folder).module.state_dict()
    for name, scale in scales.items():
        name = name.removesuffix("_scale_inv")
        torch.testing.assert_close(loaded[name], plain[name].float() * scale[0, 0], rtol=0, atol=0)


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, "weights"])
def test_bin_files_without_weights_say_so(tiny_folder, content):
    (tiny_folder / "model.safetensors").unlink()
    torch.save(content, tiny_folder / "pytorch_model.bin")
    message = refusal(tiny_folder)
    assert "not weights by name" in message or "the weights have 0 blocks" in message


def test_a_bin_file_that_unpacks_to_more_than_it_is_is_not_unpacked(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    packed = tiny_folder / "pytorch_model.bin"
    torch.save(tiny_module("llama").state_dict(), tiny_folder / "stored")
    with zipfile.ZipFile(tiny_folder / "stored") as origin, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in origin.infolist():
            bomb.writestr(entry.filename, origin.read(entry))
    assert "pytorch_model.bin is compressed" in refusal(tiny_folder)


@pytest.mark.parametrize("header", [b"", (2**60).to_bytes(8, "little"), b"\2\0\0\0\0\0\0\0[]"])
def test_safetensors_files_that_are_none(tiny_folder, header):
    (tiny_folder / "model.safetensors").write_bytes(header)
    assert "cannot be read as a model (Safetensor" in refusal(tiny_folder)


def test_a_file_without_permission_says_so(tiny_folder, monkeypatch):
    monkeypatch.setattr(folder.os, "access", lambda path, mode: path.name != "tokenizer.json")  # root may read all
    assert "tokenizer.json cannot be read: permission denied. Change its permissions" in refusal(tiny_folder)


def test_a_disk_that_fails_is_named(tiny_folder, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Input/output error", "/data/config.json")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", fail)
    message = refusal(tiny_folder)
    assert message.endswith(
        "a file cannot be read: Input/output error (/data/config.json). Check the file and its disk."
    )
