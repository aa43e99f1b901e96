"""Models that are in memory, and what is taken for one."""

import copy
import re

import peft
import pytest
import torch
import transformers as tf

import layerscope as ls
from layerscope.errors import CaptureError, ModelError, TextsError, UsageError
from layerscope.models.loading import wrap_module
from layerscope.models.weight_identity import module_checksum
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = ["w5 w6 w7 w8", "w9 w10"]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # from PEFT

UNTRAINED = {"init_lora_weights": False}  # otherwise an adapter starts as the identity


def lora(module, **options):
    return peft.get_peft_model(
        module, peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], **UNTRAINED, **options)
    )


def compiled(module):
    return torch.compile(module, backend="eager")  # the default backend warns when it is imported


def states(model, tmp_path, name="run.h5"):
    ls.capture(model, TEXTS, tmp_path / name)
    return torch.from_numpy(ls.open_capture(tmp_path / name).hidden.load().values)


def own_states(module):
    """The states that hooks of torch see while the whole module runs."""
    seen = []
    blocks = [part for path, part in module.named_modules() if re.search(r"\.layers\.\d+$", path)]
    handles = [blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))]
    handles += [block.register_forward_hook(lambda _, __, output: seen.append(output)) for block in blocks]
    rows = []
    for text in TEXTS:
        seen.clear()
        with torch.no_grad():
            module(**word_tokenizer()(text, return_tensors="pt"))
        rows.append(torch.stack([stream[0] for stream in seen], dim=1))
    for handle in handles:
        handle.remove()
    return torch.cat(rows)


def test_a_model_in_memory_gives_its_own_states(tmp_path):
    module = tiny_module("llama")
    model = ls.load_model(module, tokenizer=word_tokenizer())
    assert model.module is module
    assert model.name == "LlamaForCausalLM"
    torch.testing.assert_close(states(model, tmp_path), own_states(module))


def test_the_name_is_that_of_the_checkpoint_or_the_one_given(tmp_path):
    module = tiny_module("llama")
    module.save_pretrained(tmp_path / "mine")
    loaded = tf.LlamaForCausalLM.from_pretrained(tmp_path / "mine")
    assert ls.load_model(loaded, tokenizer=word_tokenizer()).name == "mine"
    module.config._name_or_path = "owner/name"
    assert ls.load_model(lora(module), tokenizer=word_tokenizer()).name == "owner/name with adapter default"
    assert ls.load_model(module, tokenizer=word_tokenizer(), name="step3").name == "step3"


# Every public function that takes a model


@pytest.fixture(scope="module")
def module():
    return tiny_module("llama")


def test_functions_say_that_texts_need_a_tokenizer(module, tmp_path):
    calls = {
        "capture": lambda: ls.capture(module, TEXTS, tmp_path / "run.h5"),
        "analyze_model": lambda: ls.analyze_model(module, TEXTS),
        "evaluate": lambda: ls.evaluate(module, "builtin:cloze"),
        "sweep": lambda: ls.sweep(module, "builtin:cloze"),
        "generate": lambda: ls.generate(module, "w5"),
    }
    for name, call in calls.items():
        with pytest.raises(
            (ModelError, TextsError), match=r"(no tokenizer|without one).* give load_model\(…, tokenizer=…\)"
        ) as error:
            call()
        assert str(error.value).startswith(("LlamaForCausalLM: ", "the text '0' needs a tokenizer")), name


def test_a_missing_tokenizer_is_said_at_the_load(module):
    with pytest.warns(UserWarning, match=r"^LlamaForCausalLM: there is no tokenizer, .* token ids only") as said:
        model = ls.load_model(module)
    assert len(said) == 1
    assert model.tokenizer is None


def test_scheduled_takes_the_module_itself(module):
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        with ls.scheduled(wrap_module(module, name="x"), "0 2-3"):
            wanted = module(ids).logits
        with ls.scheduled(module, "0 2-3"):
            assert torch.equal(module(ids).logits, wanted)
        assert not torch.equal(module(ids).logits, wanted)


@pytest.mark.parametrize("option", [{"dtype": "bfloat16"}, {"device": "cpu"}, {"device_map": "auto"}])
def test_a_model_in_memory_stays_as_it_is(module, tmp_path, option):
    model = ls.load_model(module, tokenizer=word_tokenizer())
    for call in (
        lambda: ls.load_model(module, **option),
        lambda: ls.capture(model, TEXTS, tmp_path / "run.h5", **option),
        lambda: ls.generate(model, "w5", **option),
        lambda: ls.evaluate(model, "builtin:cloze", **option),
        lambda: ls.sweep(model, "builtin:cloze", **option),
    ):
        with pytest.raises(UsageError, match=f"^{next(iter(option))} is set when a model is loaded by name"):
            call()


# Compiled models, adapters


def test_a_compiled_model_runs_as_it_was_before(module, tmp_path):
    model = ls.load_model(compiled(module), tokenizer=word_tokenizer())
    assert model.module is module


@pytest.mark.parametrize("wrap", [lora, lambda module: compiled(lora(module))])
def test_states_are_those_with_the_adapter(tmp_path, wrap):
    plain = states(ls.load_model(tiny_module("llama"), tokenizer=word_tokenizer()), tmp_path, "plain.h5")
    adapted = wrap(tiny_module("llama"))
    found = states(ls.load_model(adapted, tokenizer=word_tokenizer()), tmp_path)
    torch.testing.assert_close(found, own_states(getattr(adapted, "_orig_mod", adapted)))
    assert not torch.allclose(found[:, 1:], plain[:, 1:])
    merged = ls.load_model(getattr(adapted, "_orig_mod", adapted).merge_and_unload(), tokenizer=word_tokenizer())
    torch.testing.assert_close(states(merged, tmp_path, "merged.h5"), found, rtol=1e-4, atol=1e-5)


def test_schedules_sweeps_and_generation_run_with_the_adapter():
    adapted = lora(tiny_module("llama"))
    merged = ls.load_model(copy.deepcopy(adapted).merge_and_unload(), tokenizer=word_tokenizer())
    model = ls.load_model(adapted, tokenizer=word_tokenizer())
    options = {"schedule": "0 (1|2) 3", "max_new_tokens": 5}
    assert ls.generate(model, "w5 w6", **options) == ls.generate(merged, "w5 w6", **options)
    one, other = (ls.sweep(each, "builtin:cloze", schedule="skip:1", limit=2, bootstrap=0) for each in (model, merged))
    assert one.loss.values == pytest.approx(other.loss.values, rel=1e-4)


def test_a_saved_head_and_embedding_of_an_adapter_are_used(tmp_path):
    adapted = lora(tiny_module("llama"), modules_to_save=["lm_head", "embed_tokens"])
    with torch.no_grad():
        adapted.get_base_model().get_input_embeddings().weight.mul_(-1)
    model = ls.load_model(adapted, tokenizer=word_tokenizer())
    torch.testing.assert_close(states(model, tmp_path), own_states(adapted))
    assert ls.evaluate(model, "builtin:cloze", limit=1)["examples"] == 1


def test_another_adapter_is_another_model(tmp_path):
    adapted = lora(tiny_module("llama"))
    adapted.add_adapter("other", peft.LoraConfig(r=2, target_modules=["q_proj"], **UNTRAINED))
    model = ls.load_model(adapted, tokenizer=word_tokenizer(), name="mine")
    ls.capture(model, TEXTS, tmp_path / "run.h5")
    adapted.set_adapter("other")
    with pytest.raises(CaptureError, match="stored with weights"):
        ls.capture(model, TEXTS, tmp_path / "run.h5", resume=True)


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
)
def test_an_adapter_outside_the_model_is_refused(config):
    adapted = peft.get_peft_model(tiny_module("llama"), config)
    with pytest.raises(ModelError, match=rf"the adapter \({type(config).__name__}\) runs outside the model") as error:
        ls.load_model(adapted)
    assert "give an adapter that changes the blocks, such as LoRA" in str(error.value)


# What is no model, and models that cannot run


class Holder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = tiny_module("bert")


class FullyShardedDataParallel(torch.nn.Module):
    """As torch's, which needs several processes."""

    def __init__(self, module):
        super().__init__()
        self._fsdp_wrapped_module = module


def compiled_part(module):
    module.model.layers[1] = compiled(module.model.layers[1])
    return module


def compiled_in_place(module):
    module.compile(backend="eager")
    return module


def compiled_forward(module):
    module.forward = torch.compile(module.forward, backend="eager")
    return module


def of_two_types(module):
    module.model.layers[1].half()
    return module


NO_MODEL = "is not a model of transformers (PreTrainedModel)"
WRONG = {
    "nn.Module": (lambda: torch.nn.Linear(2, 2), f"Linear {NO_MODEL}: give one"),
    "DataParallel": (lambda: torch.nn.DataParallel(tiny_module("llama")), f"DataParallel {NO_MODEL}: give its .module"),
    "FSDP": (
        lambda: FullyShardedDataParallel(tiny_module("llama")),
        "its weights are split over processes: gather them into a plain model first",
    ),
    "holder": (Holder, f"Holder {NO_MODEL}: give its .encoder"),
    "compiled block": (
        lambda: compiled_part(tiny_module("llama")),
        "model.layers.1 is compiled (torch.compile), and a compiled graph shows no block",
    ),
    "compiled in place": (lambda: compiled_in_place(tiny_module("llama")), "the module is compiled (torch.compile)"),
    "compiled forward": (lambda: compiled_forward(tiny_module("llama")), "the module is compiled (torch.compile)"),
    "two types": (
        lambda: of_two_types(tiny_module("llama")),
        "its weights are float16 and float32; give all one type that it computes in, as module.float() does",
    ),
    "meta": (
        lambda: tiny_module("llama").to("meta"),
        "model.embed_tokens.weight is on the device meta, so it has no values: load the weights first",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_modules_that_cannot_be_taken_are_refused_in_a_sentence(kind):
    make, said = WRONG[kind]
    with pytest.raises(ModelError, match=re.escape(said)) as error:
        ls.load_model(make(), tokenizer=word_tokenizer())
    assert len(str(error.value).splitlines()) <= 2


def pipe():
    return tf.pipeline("text-generation", model=tiny_module("llama"), tokenizer=word_tokenizer())


THINGS = {
    "pipeline": pipe,
    "state dict": lambda: tiny_module("bert").state_dict(),
    "None": lambda: None,
    "class": lambda: tf.LlamaForCausalLM,
}


@pytest.mark.parametrize("kind", THINGS)
def test_things_that_are_no_module_are_wrong_use(kind, tmp_path):
    wrong = THINGS[kind]()
    for call in (lambda: ls.load_model(wrong), lambda: ls.capture(wrong, TEXTS, tmp_path / "run.h5")):
        with pytest.raises(
            UsageError, match=r"expected (a Model, )?a hub id, a folder, .* \(of a pipeline, its \.model\)"
        ):
            call()


def test_the_path_of_a_tokenizer_is_no_tokenizer(module):
    with pytest.raises(
        UsageError, match=r"'tok' is a str; expected a tokenizer of .* \(AutoTokenizer\.from_pretrained"
    ):
        ls.load_model(module, tokenizer="tok")


def test_the_name_of_a_model_is_no_module():
    with pytest.raises(UsageError, match="module 'gpt2' is a str; expected a Module"):
        wrap_module("gpt2", name="x")


# A model is left as it was found


def test_training_mode_and_gradients_are_left_alone(tmp_path):
    module = tiny_module("gpt2", attn_pdrop=0.5, resid_pdrop=0.5).train()
    module.transformer.h[2].eval()
    module(torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss.backward()
    modes = [part.training for part in module.modules()]
    gradients = {name: weight.grad.clone() for name, weight in module.named_parameters()}
    model = ls.load_model(module, tokenizer=word_tokenizer(), name="training")
    found = states(model, tmp_path)
    ls.generate(model, "w5 w6", max_new_tokens=2)
    ls.evaluate(model, "builtin:cloze", limit=1)
    assert [part.training for part in module.modules()] == modes
    for name, weight in module.named_parameters():
        assert weight.requires_grad
        assert torch.equal(weight.grad, gradients[name]), name
    still = ls.load_model(copy.deepcopy(module).eval(), tokenizer=word_tokenizer(), name="training")
    assert torch.equal(found, states(still, tmp_path, "still.h5")), "without dropout"


# Quantised weights


class Int8Linear(torch.nn.Module):
    """Weights in 8 bits, as several libraries keep them."""

    def __init__(self, linear):
        super().__init__()
        self.scale = torch.nn.Parameter(linear.weight.detach().abs().max() / 127)
        rounded = (linear.weight.detach() / self.scale.detach()).round().to(torch.int8)
        self.weight = torch.nn.Parameter(rounded, requires_grad=False)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.to(x.dtype) * self.scale)


def test_a_model_with_weights_in_eight_bits_runs(tmp_path):
    module = tiny_module("llama")
    for block in module.model.layers:
        block.mlp.up_proj = Int8Linear(block.mlp.up_proj)
    model = ls.load_model(module, tokenizer=word_tokenizer())
    assert model.dtype == torch.float32
    torch.testing.assert_close(states(model, tmp_path), own_states(module))
    before = model.fingerprint()
    module.model.layers[0].mlp.up_proj.weight.data[0, 0] += 1
    assert model.fingerprint() != before


def dynamic(seed):
    module = tiny_module("llama", seed=seed)
    return torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore")
def test_a_model_whose_scales_follow_the_whole_text_is_refused_for_that():
    with pytest.raises(ModelError, match=r"the weights are quantised \(.*Linear\), .* the same output for a token"):
        ls.load_model(dynamic(0), tokenizer=word_tokenizer())


@pytest.mark.filterwarnings("ignore")
def test_packed_weights_are_part_of_the_checksum():
    one, other = dynamic(0), dynamic(0)
    assert module_checksum(one) == module_checksum(other)
    other.lm_head = dynamic(1).lm_head
    assert module_checksum(one) != module_checksum(other)
