"""Hostile and damaged model folders: only regular files inside the folder are read, within bounds."""

import json
import os
import shutil
import signal
from contextlib import contextmanager

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import layerscope as ls
from layerscope.errors import ModelError
from layerscope.models import config_check, folder
from layerscope.models.loading import identify
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

SECONDS = 20  # for any folder; honest ones of this size take less than one


@contextmanager
def time_limit():
    def stop(*_):
        raise TimeoutError("the folder is still being read")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(source) -> str:
    with time_limit(), pytest.raises(ModelError) as error:
        ls.load_model(source)
    assert str(error.value).count("\n") <= 1
    assert not isinstance(error.value.__cause__, TimeoutError)
    return str(error.value)


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders made once; each test has a copy."""
    base = tmp_path_factory.mktemp("made")
    for name, options in (("tiny-llama", {}), ("sharded", {"max_shard_size": "60KB"})):
        tiny_module("llama").save_pretrained(base / name, **options)
        word_tokenizer().save_pretrained(base / name)
    assert len(list((base / "sharded").glob("*.safetensors"))) > 2
    return base


@pytest.fixture
def tiny_folder(made, tmp_path):
    return shutil.copytree(made / "tiny-llama", tmp_path / "tiny-llama")


@pytest.fixture
def sharded(made, tmp_path):
    return shutil.copytree(made / "sharded", tmp_path / "sharded")


# Files that are no regular files inside the folder

PLACES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "extra.json",
    "model.safetensors",
    "pytorch_model.bin",
    "model.safetensors.index.json",
    "adapter_config.json",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("put", "said"),
    [
        (os.mkfifo, "is a named pipe, not a regular file"),
        (os.mkdir, "is a directory, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "leads outside the model folder, to /dev/zero"),
        (lambda path: path.symlink_to("nothing"), "is a link to a file that does not exist"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_name(tiny_folder, place, put, said):
    (tiny_folder / place).unlink(missing_ok=True)
    put(tiny_folder / place)
    assert said in (message := refusal(tiny_folder))
    assert place in message


def test_files_that_nothing_reads_may_be_anything(tiny_folder):
    os.mkfifo(tiny_folder / "pipe")
    (tiny_folder / "onnx").mkdir()
    model = ls.load_model(tiny_folder)
    assert model.fingerprint().startswith("sha256:")


def test_a_link_inside_the_folder_is_followed_and_one_that_leaves_it_is_not(tiny_folder):
    weights = tiny_folder / "model.safetensors"
    inside, outside = tiny_folder / "real.safetensors", tiny_folder.parent / "other.safetensors"
    weights.rename(inside)
    weights.symlink_to(inside.name)
    assert ls.load_model(tiny_folder).depth == 4
    inside.rename(outside)
    weights.unlink()
    weights.symlink_to(outside)
    assert refusal(tiny_folder) == (
        f"{weights} leads outside the model folder, to {outside}.\nOnly files inside the folder are read: copy it there."
    )


def test_a_linked_folder_is_the_folder(tiny_folder):
    link = tiny_folder.with_name("link")
    link.symlink_to(tiny_folder, target_is_directory=True)
    assert ls.load_model(link).fingerprint() == ls.load_model(tiny_folder).fingerprint()


def test_a_pipe_called_gguf_is_refused(tmp_path):
    os.mkfifo(tmp_path / "model.gguf")
    assert "is not a regular file" in refusal(tmp_path / "model.gguf")


# Sizes


@pytest.mark.parametrize("place", ["config.json", "tokenizer.json", "extra.json", "vocab.txt"])
def test_huge_files_are_refused_unread(tiny_folder, place):
    with (tiny_folder / place).open("ab") as file:
        file.truncate(2**40)
    assert f"{place} has 1,099,511,627,776 bytes, and a file of this kind at most" in refusal(tiny_folder)


@pytest.mark.parametrize("place", ["optimizer.bin", "other.safetensors"])
def test_huge_weights_of_something_else_are_not_hashed(tiny_folder, place):
    with (tiny_folder / place).open("wb") as file:
        file.truncate(2**41)
    model = ls.load_model(tiny_folder)
    with time_limit(), pytest.raises(ModelError, match=f"{place} is far larger than the model itself"):
        model.fingerprint()


def test_the_fingerprint_is_as_it_was(tiny_folder):
    """Captures recorded it, and --resume compares it: sha256 over names and hashes of all .json, .bin and .safetensors."""
    import hashlib

    (tiny_folder / "training_args.bin").write_bytes(b"state of a trainer")
    (tiny_folder / "README.md").write_text("not hashed")
    expected = hashlib.sha256()
    for path in sorted(tiny_folder.iterdir()):
        if path.suffix in (".json", ".bin", ".safetensors"):
            expected.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    assert identify(tiny_folder).fingerprint() == ls.load_model(tiny_folder).fingerprint()
    assert identify(tiny_folder).fingerprint() == f"sha256:{expected.hexdigest()}"


# JSON


@pytest.mark.parametrize("place", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot be read"),
        (b"[1]", "a JSON list, not an object|cannot be read"),
        (b'{"\xff\xfe": 1}', "codec can't decode byte"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply|recursion"),
    ],
)
def test_json_that_is_none(tiny_folder, place, content, said):
    (tiny_folder / place).write_bytes(content)
    message = refusal(tiny_folder)
    assert any(part in message for part in said.split("|"))


# Configurations that are not those of the weights

LIES = {
    "a billion blocks": ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, the weights hold 4 blocks"),
    "one block more": ({"num_hidden_layers": 5}, "num_hidden_layers 5, the weights hold 4 blocks"),
    "one block less": ({"num_hidden_layers": 3}, "9 not used (model.layers.3.input_layernorm.weight, "),
    "no features": ({"hidden_size": 0}, "hidden_size 0: it must be a whole number of 1 or more"),
    "half a feature": ({"hidden_size": 32.5}, "hidden_size 32.5: it must be"),
    "sizes in words": ({"num_attention_heads": "four"}, "num_attention_heads 'four': it must be"),
    "a negative size": ({"max_position_embeddings": -1}, "max_position_embeddings -1: it must be"),
    "true as a size": ({"intermediate_size": True}, "intermediate_size True: it must be"),
    "a vocabulary beyond memory": ({"vocab_size": 10**12}, "64,000,000,037,160 values, the weights hold 43,360"),
    "a vocabulary too large": ({"vocab_size": 98}, "2 of another shape (lm_head.weight, model.embed_tokens.weight)"),
    "a vocabulary too small": ({"vocab_size": 96}, "2 of another shape (lm_head.weight, model.embed_tokens.weight)"),
    "heads as wide as the world": ({"head_dim": 10**9}, "values, the weights hold 43,360"),
    "no family": ({"model_type": None}, "the family None is not in the architecture table"),
    "a list of families": ({"model_type": ["llama"]}, "the family ['llama'] is not in the architecture table"),
    "another family's class": ({"architectures": ["GPT2LMHeadModel"]}, "the family llama and a class of another"),
    "a hundred million labels": ({"num_labels": 10**8}, "num_labels 100000000: it must be a whole number up to 1,000,000"),
    "a size beyond 64 bits": ({"hidden_size": 10**400}, "cannot be read as a model"),
    "NaN for a rotary base": (
        {"rope_parameters": {"rope_type": "default", "rope_theta": float("nan")}},
        "model.rotary_emb.inv_freq, which the model computes from config.json, is NaN",
    ),
    "attention of a missing package": ({"attn_implementation": "flash_attention_2"}, "install what it names"),
    "a wrong type": ({"rms_norm_eps": "small"}, "cannot be read as a model (Strict"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_configuration_of_another_model(tiny_folder, lie):
    changes, said = LIES[lie]
    change_json(tiny_folder / "config.json", **changes)
    assert said in refusal(tiny_folder)


@pytest.mark.parametrize(
    ("family", "key"), [("gpt2", "n_layer"), ("distilbert", "n_layers"), ("qwen2", "num_hidden_layers")]
)
def test_depth_is_checked_by_the_name_that_the_family_uses(tmp_path, family, key):
    tiny_module(family).save_pretrained(tmp_path / family)
    change_json(tmp_path / family / "config.json", **{key: 10**9})
    assert f"{key} 1000000000, the weights hold 4 blocks" in refusal(tmp_path / family)


def test_depth_is_checked_for_bin_files_too(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    torch.save(tiny_module("llama").state_dict(), tiny_folder / "pytorch_model.bin")
    change_json(tiny_folder / "config.json", num_hidden_layers=10**9)
    assert "the weights hold 4 blocks" in refusal(tiny_folder)


def test_a_model_larger_than_the_machine_is_forecast(tiny_folder, monkeypatch):
    monkeypatch.setattr(config_check.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 10)
    assert "this machine has 0 GB: give --dtype bfloat16" in refusal(tiny_folder)


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
        assert f"{one.name} and {two.name} hold different values of {name}" in refusal(sharded)


def test_a_distributed_checkpoint_is_none_of_ours(tiny_folder):
    shutil.copy(tiny_folder / "model.safetensors", tiny_folder / "shard-00000-model-00000-of-00001.safetensors")
    assert "holds a distributed checkpoint" in refusal(tiny_folder)


def test_a_folder_without_weights_says_so(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    assert "has no weights: none of model.safetensors, " in refusal(tiny_folder)
    (tiny_folder / "tiny.Q4.gguf").touch()
    assert refusal(tiny_folder).endswith("give one of its GGUF files instead (tiny.Q4.gguf)")


def test_a_folder_of_something_else_says_so(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} has no config.json, so it is no model folder"


# Adapters, quantised weights, unreadable files


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_says_what_it_is_and_how_to_load_it(tiny_folder, whole):
    if not whole:
        (tiny_folder / "config.json").unlink()
        (tiny_folder / "model.safetensors").unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "meta/base", "r": 2, "target_modules": ["q_proj"]}
    (tiny_folder / "adapter_config.json").write_text(json.dumps(settings))
    assert refusal(tiny_folder) == (
        f"{tiny_folder} holds an adapter (adapter_config.json) for meta/base, which is not a model by itself.\n"
        "Merge it into that model with PEFT (merge_and_unload, then save_pretrained) and give the merged folder."
    )


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
    assert "not weights by name" in message or "the weights hold 0 blocks" in message


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
        "a file cannot be read: Input/output error (/data/config.json). See to the file or its disk."
    )


# Panics of libraries written in Rust


class PanicException(BaseException):
    """As pyo3 names it; it cannot be imported."""


def test_a_panic_of_the_tokenizer_library_is_one_line(tiny_folder, monkeypatch, capfd):
    def panic(*_, **__):
        os.write(2, b"thread '<unnamed>' panicked at src/lib.rs:1:2:\n")
        raise PanicException("index out of bounds")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", panic)
    assert "cannot be read as a model (PanicException: index out of bounds)" in refusal(tiny_folder)
    assert "panicked" not in capfd.readouterr().err


def test_what_libraries_print_without_a_panic_is_kept(tiny_folder, monkeypatch, capfd):
    original = transformers.AutoTokenizer.from_pretrained

    def talk(*arguments, **options):
        os.write(2, b"by the way\n")
        return original(*arguments, **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", talk)
    ls.load_model(tiny_folder)
    assert "by the way" in capfd.readouterr().err
