import json
import shutil

import huggingface_hub
import pytest
import torch
import transformers

import layerscope as ls
from layerscope.errors import ModelError, UsageError
from layerscope.models.identity import identify
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.models import gguf_files
from tests.models.test_adapter import save_adapter
from tests.tokenizers import word_tokenizer


def test_folder_gives_the_very_weights_that_were_saved(tiny_folder):
    model = ls.load_model(tiny_folder)
    saved = tiny_module("llama").state_dict()
    assert model.name == "tiny-llama"
    assert (model.depth, model.width, model.context) == (4, 32, 64)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.module.state_dict().items())
    assert not model.module.training


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_what_was_asked_whatever_the_checkpoint_holds(tiny_folder, dtype):
    tiny_module("llama").to(torch.bfloat16).save_pretrained(tiny_folder)
    assert ls.load_model(tiny_folder, dtype=dtype).dtype == getattr(torch, dtype)


def test_float32_is_the_default_for_a_16_bit_checkpoint(tiny_folder):
    tiny_module("llama").to(torch.bfloat16).save_pretrained(tiny_folder)
    assert ls.load_model(tiny_folder).dtype == torch.float32


def test_bin_checkpoint_is_read_with_a_notice(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    module = tiny_module("llama")
    torch.save(module.state_dict(), tiny_folder / "pytorch_model.bin")
    with pytest.warns(UserWarning, match=r"tiny-llama: no safetensors, \.bin files were read"):
        model = ls.load_model(tiny_folder)
    assert torch.equal(model.module.state_dict()["lm_head.weight"], module.state_dict()["lm_head.weight"])


class Harmful:
    """Unpickling this would write a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_bin_checkpoint_that_carries_code_is_refused_and_not_run(tiny_folder, tmp_path):
    (tiny_folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Harmful(tmp_path / "ran")}, tiny_folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be read as a model"):
        ls.load_model(tiny_folder)
    assert not (tmp_path / "ran").exists()


def test_pythia_in_full_size_with_random_weights(tmp_path):
    config = transformers.GPTNeoXConfig(  # the published configuration of Pythia-70m
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        vocab_size=50304,
        max_position_embeddings=2048,
        rotary_pct=0.25,
        use_parallel_residual=True,
        bos_token_id=0,
        eos_token_id=0,
        architectures=["GPTNeoXForCausalLM"],
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "pythia-70m")
    word_tokenizer().save_pretrained(tmp_path / "pythia-70m")
    model = ls.load_model(tmp_path / "pythia-70m")
    assert (model.name, model.depth, model.width, model.context) == ("pythia-70m", 6, 512, 2048)
    assert sum(parameter.numel() for parameter in model.module.parameters()) == 70_426_624


def _damage_nothing_there(folder):
    shutil.rmtree(folder)


def _damage_no_weights(folder):
    (folder / "model.safetensors").unlink()


def _damage_cut_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _damage_config(folder):
    (folder / "config.json").write_text("{")


def _damage_no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def _damage_family(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no_such"}))


def _damage_missing_weight(folder):
    module = tiny_module("llama")
    state = {
        name: tensor for name, tensor in module.state_dict().items() if name != "model.layers.2.mlp.up_proj.weight"
    }
    module.save_pretrained(folder, state_dict=state)


def _damage_nan(folder):
    module = tiny_module("llama")
    module.model.layers[2].mlp.down_proj.weight.data[3, 4] = float("nan")
    module.save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_damage_nothing_there, "there is no such folder"),
        (_damage_no_weights, "has no weights: none of model.safetensors, "),
        (_damage_cut_weights, "cannot be read as a model"),
        (_damage_config, r"config.json cannot be read as JSON"),
        (_damage_no_tokenizer, "no tokenizer files"),
        (_damage_family, r"config.json has model_type 'no_such': it is no family of transformers"),
        (_damage_missing_weight, r"1 missing \(model.layers.2.mlp.up_proj.weight\)"),
        (_damage_nan, "the weights contain NaN, first in model.layers.2.mlp.down_proj.weight"),
    ],
)
def test_damaged_folder_is_one_clear_error(tiny_folder, damage, said):
    damage(tiny_folder)
    with pytest.raises(ModelError, match=said) as error:
        ls.load_model(tiny_folder)
    assert str(error.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"not a model", "not a GGUF file"),
        (b"GGUF\x03\0\0\0rest", "cannot be read as a model.*; the file is damaged or cut short: fetch it again"),
    ],
)
def test_damaged_gguf_leaves_nothing_in_the_cache(tmp_path, monkeypatch, content, said):
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        ls.load_model(path)
    assert not list((tmp_path / "cache").glob("models/*"))


def test_a_damaged_conversion_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))
    path = gguf_files.write(tmp_path / "model.gguf", gguf_files.model("llama"))
    ls.load_model(path)
    (folder,) = (tmp_path / "cache" / "models").iterdir()
    (folder / "model.safetensors").write_bytes(b"cut")
    assert ls.load_model(path).depth == 4


@pytest.mark.parametrize("source", ["EleutherAI/pythia-70m", "EleutherAI/pythia-70m@step1000", "gpt2"])
def test_hub_out_of_reach_is_said_in_one_line(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"the model hub cannot be reached; give a folder or a \.gguf file"):
        ls.load_model(source)


def test_a_file_that_is_no_model_is_said_to_be_one(tmp_path):
    (tmp_path / "stories.txt").write_text("Once.")
    with pytest.raises(ModelError, match=r"stories.txt is no model folder and no \.gguf file"):
        ls.load_model(tmp_path / "stories.txt")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The cache of a hub: a function that puts a folder into it, as the hub's own client lays it out."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(folder, repository="owner/tiny", revision="step1000"):
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        for part in ("refs", "blobs", f"snapshots/{COMMIT}"):
            (root / part).mkdir(parents=True)
        (root / "refs" / revision).write_text(COMMIT)
        for number, path in enumerate(sorted(folder.iterdir())):
            blob = root / "blobs" / f"{number:040x}"
            shutil.copy(path, blob)
            (root / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{blob.name}")
        return root / "snapshots" / COMMIT

    return put


def test_hub_id_and_revision_name_the_cached_files(tiny_folder, hub_cache):
    hub_cache(tiny_folder)
    model = ls.load_model("owner/tiny@step1000")
    assert (model.name, model.depth, model.fingerprint()) == ("owner/tiny@step1000", 4, COMMIT)
    assert identify("owner/tiny@step1000").fingerprint() == COMMIT
    saved = tiny_module("llama").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.module.state_dict().items())
    with pytest.raises(ModelError, match="the model hub cannot be reached"):
        ls.load_model("owner/tiny@step2000")


def test_a_snapshot_of_the_cache_is_a_folder_like_any_other(tiny_folder, hub_cache):
    before = ls.load_model(tiny_folder).fingerprint()
    assert ls.load_model(hub_cache(tiny_folder)).fingerprint() == before


def test_files_from_the_hub_are_checked_too(tmp_path, hub_cache):
    folder = tmp_path / "sharded"
    tiny_module("llama").save_pretrained(folder, max_shard_size="60KB")
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.norm.weight"] = "../../../../secret.safetensors"
    index.write_text(json.dumps(content))
    hub_cache(folder)
    with pytest.raises(ModelError, match="which is outside the model folder: such a file is not read"):
        ls.load_model("owner/tiny@step1000")


def test_an_adapter_on_the_hub_finds_its_base_there(tiny_folder, tmp_path, hub_cache):
    hub_cache(tiny_folder, "meta/base", "main")
    save_adapter(tiny_folder, tmp_path / "adapter", named="meta/base")
    hub_cache(tmp_path / "adapter")
    model = ls.load_model("owner/tiny@step1000")
    assert model.name == "owner/tiny@step1000"
    assert model.fingerprint().startswith(f"{COMMIT} + adapter sha256:")
    assert identify("owner/tiny@step1000").fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    ("option", "said"), [({"dtype": "int8"}, "unknown dtype"), ({"device": "abacus"}, "unknown device")]
)
def test_wrong_options_are_wrong_use(tiny_folder, option, said):
    with pytest.raises(UsageError, match=said):
        ls.load_model(tiny_folder, **option)


def test_fingerprint_follows_the_weights_not_the_name(tiny_folder):
    before = ls.load_model(tiny_folder).fingerprint()
    moved = tiny_folder.rename(tiny_folder.with_name("moved"))
    assert ls.load_model(moved).fingerprint() == before
    tiny_module("llama", seed=1).save_pretrained(moved)
    assert ls.load_model(moved).fingerprint() != before


def test_a_family_that_no_one_has_named_loads():
    config = transformers.MambaConfig(hidden_size=8, num_hidden_layers=2, vocab_size=16)
    model = wrap_module(transformers.MambaForCausalLM(config), name="mine")
    assert (model.architecture.blocks, model.depth, model.width) == ("layers", 2, 8)


@pytest.mark.real
def test_gguf_is_converted_once_and_loads_as_float32(smollm2, smollm2_path):
    assert (smollm2.depth, smollm2.width, smollm2.architecture.family) == (30, 576, "llama")
    assert smollm2.dtype == torch.float32
    assert smollm2.fingerprint() == "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    again = ls.load_model(smollm2_path)
    assert torch.equal(
        again.module.model.layers[7].mlp.up_proj.weight, smollm2.module.model.layers[7].mlp.up_proj.weight
    )


@pytest.mark.real
def test_headless_encoder(minilm):
    assert (minilm.depth, minilm.width, minilm.context, minilm.final_norm) == (6, 384, 512, None)
