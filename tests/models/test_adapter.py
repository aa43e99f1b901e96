"""Adapters of PEFT in folders and on the hub."""

import json
import shutil
import warnings

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import layerscope as ls
from layerscope.errors import CaptureError, ModelError
from layerscope.models.identity import identify
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = ["w5 w6 w7 w8", "w9 w10"]


def save_adapter(base, folder, seed=0, named=None, **options):
    """Save an adapter for the model in the folder `base`; return its states from PEFT itself."""
    torch.manual_seed(seed)
    module = tiny_module("llama")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(module, config).eval()
        adapted.save_pretrained(folder)
    change(folder, base_model_name_or_path=str(base) if named is None else named)
    with torch.no_grad():
        ids = torch.tensor([word_tokenizer()(TEXTS[0])["input_ids"]])
        return adapted(ids, output_hidden_states=True).hidden_states[2][0]


def change(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def state(source, tmp_path, **options):
    path = tmp_path / "run.h5"
    ls.capture(source, TEXTS, path, overwrite=True, **options)
    return torch.from_numpy(ls.open_capture(path).hidden.load().values)[:4, 2]


@pytest.fixture
def adapter(tiny_folder, tmp_path):
    folder = tmp_path / "adapter"
    wanted = save_adapter(tiny_folder, folder)
    return folder, wanted


def test_a_folder_of_an_adapter_gives_the_states_of_peft(adapter, tiny_folder, tmp_path):
    folder, wanted = adapter
    torch.testing.assert_close(state(folder, tmp_path), wanted)
    assert not torch.allclose(state(tiny_folder, tmp_path), wanted)
    assert ls.load_model(folder).name == "adapter"


def test_the_weights_are_named_by_both(adapter, tiny_folder, tmp_path):
    folder, _ = adapter
    name = ls.load_model(folder).fingerprint()
    base = ls.load_model(tiny_folder).fingerprint()
    assert name.startswith(f"{base} + adapter sha256:")
    assert identify(folder).fingerprint() == name
    save_adapter(tiny_folder, tmp_path / "other", seed=1)
    assert ls.load_model(tmp_path / "other").fingerprint() != name


def test_a_capture_is_not_resumed_with_another_adapter(adapter, tiny_folder, tmp_path):
    folder, _ = adapter
    state(folder, tmp_path)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    ls.capture(folder, texts, tmp_path / "run.h5", overwrite=True)
    assert ls.capture(folder, texts, tmp_path / "run.h5", resume=True).already_complete
    shutil.rmtree(folder)
    save_adapter(tiny_folder, folder, seed=1)
    with pytest.raises(
        CaptureError, match=r"stored with weights '\S+ \+ adapter sha256:\w+', got '\S+ \+ adapter sha256:"
    ):
        ls.capture(folder, texts, tmp_path / "run.h5", resume=True)


def test_a_relative_base_is_sought_next_to_the_adapter_and_here(tiny_folder, tmp_path, monkeypatch):
    wanted = save_adapter(tiny_folder, tmp_path / "adapter", named="../tiny-llama")
    torch.testing.assert_close(state(tmp_path / "adapter", tmp_path), wanted)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "adapter", tmp_path / "elsewhere" / "adapter")
    change(tmp_path / "elsewhere" / "adapter", base_model_name_or_path="tiny-llama")
    monkeypatch.chdir(tmp_path)
    torch.testing.assert_close(state("elsewhere/adapter", tmp_path), wanted)


def test_the_tokenizer_of_the_adapter_comes_first(adapter):
    folder, _ = adapter
    assert "w94" not in ls.load_model(folder).tokenizer.all_special_tokens
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "w94"})
    tokenizer.save_pretrained(folder)
    assert ls.load_model(folder).tokenizer.eos_token == "w94"


def test_adapters_run_under_schedules_and_on_disk(adapter, tmp_path):
    folder, wanted = adapter
    torch.testing.assert_close(state(folder, tmp_path, device_map={"": "cpu"}), wanted)
    base = "base_model.model"
    spread = {f"{base}.model": "cpu", f"{base}.model.layers.1": "disk", f"{base}.lm_head": "disk"}
    torch.testing.assert_close(state(folder, tmp_path, device_map=spread), wanted)


# What is refused


def base_of_its_own(folder, tiny):
    save_adapter(tiny, tiny.parent / "second")
    change(folder, base_model_name_or_path=str(tiny.parent / "second"))


def negative_rank(folder, tiny):
    change(folder, r=-1)


def other_width(folder, tiny):
    shutil.rmtree(tiny)
    tiny_module("llama", hidden_size=16, num_attention_heads=2, num_key_value_heads=1).save_pretrained(tiny)


def fewer_blocks(folder, tiny):
    shutil.rmtree(tiny)
    tiny_module("llama", num_hidden_layers=2).save_pretrained(tiny)


def half_of_the_weights(folder, tiny):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if "lora_A" in name}, path)


def larger_vocabulary(folder, tiny):
    path = folder / "adapter_model.safetensors"
    save_file(load_file(path) | {"base_model.model.model.embed_tokens.weight": torch.zeros(110, 32)}, path)


def inside_another_folder(folder, tiny):
    (folder / "one").mkdir()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / file).rename(folder / "one" / file)


REFUSED = {
    "another vocabulary": (larger_vocabulary, "the adapter has a vocabulary of 110, and its base model"),
    "a folder of adapters": (inside_another_folder, "is a folder of adapters (one): give one of them, as "),
    "no base": (lambda folder, tiny: change(folder, base_model_name_or_path=None), "names no base model"),
    "missing folder": (lambda folder, tiny: shutil.rmtree(tiny), "there is no such folder.\nPut the base model there"),
    "missing hub id": (
        lambda folder, tiny: change(folder, base_model_name_or_path="meta/base"),
        "adapter: its base model cannot be loaded: meta/base: no folder has this name, and the model hub cannot be reached",
    ),
    "no weights": (
        lambda folder, tiny: (folder / "adapter_model.safetensors").unlink(),
        "has an adapter without weights",
    ),
    "an adapter of an adapter": (
        base_of_its_own,
        "as its base model, which is an adapter itself: merge that one first",
    ),
    "cut short": (
        lambda folder, tiny: (folder / "adapter_model.safetensors").write_bytes(b"\0" * 30),
        "the adapter does not fit its base model",
    ),
    "unknown kind": (
        lambda folder, tiny: change(folder, peft_type="NONSENSE"),
        "the adapter does not fit its base model",
    ),
    "another width": (other_width, "the adapter does not fit its base model"),
    "fewer blocks": (fewer_blocks, "no place for 8 tensors"),
    "half of the weights": (half_of_the_weights, "weights missing for 8 tensors"),
    "Megatron": (lambda folder, tiny: change(folder, megatron_config={"a": 1}), "is of an adapter for Megatron"),
    "not JSON": (lambda folder, tiny: (folder / "adapter_config.json").write_text("{"), "cannot be read as JSON"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_in_words(adapter, tiny_folder, kind):
    folder, _ = adapter
    damage, said = REFUSED[kind]
    damage(folder, tiny_folder)
    with pytest.raises(ModelError) as error:
        ls.load_model(folder)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_a_prompt_is_no_part_of_the_model(tiny_folder, tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.get_peft_model(tiny_module("llama"), config).save_pretrained(tmp_path / "prompt")
    change(tmp_path / "prompt", base_model_name_or_path=str(tiny_folder))
    with pytest.raises(ModelError, match=r"prompt: the adapter \(PromptTuningConfig\) runs outside the model"):
        ls.load_model(tmp_path / "prompt")


def test_peft_is_needed_for_adapters_only(adapter, tiny_folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert ls.load_model(tiny_folder).depth == 4
    with pytest.raises(ModelError, match=r"install it \(pip install 'layerscope\[peft\]'\)"):
        ls.load_model(adapter[0])
