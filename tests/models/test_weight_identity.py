"""A result names the weights that ran, also when they were changed after the load."""

import copy
import os

import peft
import pytest
import torch

import layerscope as ls
from layerscope.errors import CaptureError
from layerscope.models.loading import wrap_module
from layerscope.models.weight_identity import module_checksum
from tests.families import FAMILIES, tiny_module
from tests.length_models import scaled_module
from tests.tokenizers import word_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

TEXTS = ["w1 w2 w3 w4 w5", "w6 w7 w8"]


class Sink:
    def update(self, rows):
        pass


def negate(weight):
    weight.mul_(-1)


def reverse_rows(weight):
    weight.copy_(weight.flip(0).clone())


def edited(edit, name="model.layers.1.mlp.up_proj.weight"):
    def change(module):
        with torch.no_grad():
            edit(module.get_parameter(name))

    return change


def merged_adapter(module):
    """Train nothing: an adapter with random weights is merged in place, through ``weight.data``."""
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(module, config).merge_and_unload()


def open_adapter(module):
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["q_proj"]), module)


def hooked(module):
    module.model.layers[2].register_forward_hook(lambda block, args, output: output * 0)


CHANGES = {
    "in place": edited(negate),
    "the order of rows": edited(reverse_rows),
    "through data": lambda module: module.model.layers[0].mlp.down_proj.weight.data.mul_(1.5),
    "one value": edited(lambda weight: weight.view(-1)[7].add_(1e-3)),
    "load_state_dict": lambda module: module.load_state_dict(tiny_module("llama", seed=1).state_dict()),
    "another parameter": lambda module: setattr(
        module.model.norm, "weight", torch.nn.Parameter(torch.full_like(module.model.norm.weight, 2))
    ),
    "a merged adapter": merged_adapter,
    "an adapter": open_adapter,
    "a block without effect": lambda module: module.model.layers.__setitem__(1, torch.nn.Identity()),
    "a buffer": lambda module: module.model.rotary_emb.inv_freq.mul_(0.5),
    "a scale": lambda module: setattr(module.model.layers[0].self_attn, "scaling", 1.0),
    "a hook": hooked,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_have_another_name(change):
    module = tiny_module("llama")
    model = wrap_module(module, word_tokenizer(), name="tiny", fingerprint=lambda: "sha256:1234")
    assert model.fingerprint() == "sha256:1234"
    CHANGES[change](model.module)
    assert model.fingerprint().startswith("sha256:1234 changed to memory:")


def test_weights_that_are_changed_back_have_their_old_name():
    model = wrap_module(tiny_module("llama"), name="tiny", fingerprint=lambda: "sha256:1234")
    edited(negate)(model.module)
    changed = model.fingerprint()
    edited(negate)(model.module)
    assert model.fingerprint() == "sha256:1234" != changed


def test_large_weights_are_covered_value_by_value_and_in_their_order():
    module = torch.nn.Linear(1500, 1501, bias=False)  # of several rows of sums, and a rest
    seen = {module_checksum(module)}
    for edit in (
        lambda weight: weight[3, 5].add_(1),
        lambda weight: weight[-1, -1].add_(1),
        lambda weight: weight[[0, 1]].copy_(weight[[1, 0]].clone()),
        reverse_rows,
        lambda weight: weight.copy_(weight.roll(1, 1).clone()),
        lambda weight: weight[:, 7].mul_(-1),
    ):
        before = module.weight.detach().clone()
        with torch.no_grad():
            edit(module.weight)
            if torch.equal(before, module.weight):  # indexing by a list gives a copy
                module.weight[[0, 1]] = module.weight[[1, 0]].clone()
        seen.add(module_checksum(module))
    assert len(seen) == 7


@pytest.mark.parametrize("family", FAMILIES)
def test_running_a_model_does_not_change_its_name(family):
    model = wrap_module(tiny_module(family), word_tokenizer(), name="tiny")
    before = model.fingerprint()
    ls.capture(model, TEXTS, sinks=[Sink()])
    if model.architecture.causal:
        ls.generate(model, "w1 w2", schedule="reverse:0", max_new_tokens=2)
    model.module(torch.tensor([[5, 6, 7]]), output_hidden_states=True)
    model.module.train()
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)
    assert model.fingerprint() == before != ""


@pytest.mark.parametrize("scaling", ["dynamic", "longrope"])
def test_a_long_text_does_not_change_the_name(scaling):
    model = wrap_module(scaled_module(scaling), word_tokenizer(), name=scaling)
    before = model.fingerprint()
    model.module(torch.arange(5, 60)[None])
    assert model.fingerprint() == before


def test_modules_without_a_source_are_named_by_their_weights():
    one, other = (wrap_module(tiny_module("llama", seed=seed), name="tiny") for seed in (0, 1))
    again = wrap_module(copy.deepcopy(one.module), name="tiny")
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.fixture
def loaded(tiny_folder):
    return ls.load_model(tiny_folder), tiny_folder


def test_a_capture_is_not_resumed_with_changed_weights(loaded, tmp_path):
    model, _ = loaded
    path = tmp_path / "run.h5"
    ls.capture(model, TEXTS, path)
    edited(negate)(model.module)
    with pytest.raises(CaptureError, match=r"stored with weights 'sha256:\w+', got 'sha256:\w+ changed to memory:"):
        ls.capture(model, TEXTS, path, resume=True)


def test_the_provenance_of_an_evaluation_names_changed_weights(loaded):
    model, _ = loaded
    edited(negate)(model.module)
    assert " changed to memory:" in ls.evaluate(model, "builtin:arithmetic", limit=1)["provenance"]["weights"]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_files_that_changed_after_the_load_are_not_what_ran(loaded, file):
    model, folder = loaded
    before = model.fingerprint()
    status = (folder / file).stat()
    os.utime(folder / file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert before.startswith("sha256:")
    assert model.fingerprint() == module_checksum(model.module)
