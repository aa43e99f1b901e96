"""What predicts no next token is refused on every road, before anything runs; so are logits that are no numbers."""

import pytest
import torch
import transformers
from torch import nn

import layerscope as ls
from layerscope.errors import CaptureError, ModelError
from layerscope.models.loading import wrap_module
from layerscope.models.logits import require_vocabulary_head, undefined_rows
from layerscope.models.model import Model
from tests.families import VOCABULARY, tiny_module
from tests.tokenizers import word_tokenizer


def llama(make, **changes) -> nn.Module:
    config = tiny_module("llama").config
    config.update(changes)
    return make(config).eval()


class Reward(transformers.LlamaPreTrainedModel):
    """A trunk with a head of one score, under the name of a vocabulary head."""

    def __init__(self, config):
        super().__init__(config)
        self.model = transformers.LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids=None, **options):
        return (self.lm_head(self.model(input_ids, **options)[0]),)


HEADLESS = {
    "trunk": lambda: llama(transformers.LlamaModel),
    "token classes": lambda: llama(transformers.LlamaForTokenClassification, num_labels=400),
    "as many classes as tokens": lambda: llama(transformers.LlamaForTokenClassification, num_labels=VOCABULARY),
    "text classes": lambda: llama(transformers.LlamaForSequenceClassification, num_labels=2),
    "reward": lambda: llama(Reward),
    "answers": lambda: llama(transformers.LlamaForQuestionAnswering),
    "gpt2 trunk": lambda: transformers.GPT2Model(tiny_module("gpt2").config).eval(),
    "encoder": lambda: tiny_module("bert"),
}
ROADS = {
    "evaluate": lambda model: ls.evaluate(model, "builtin:cloze", limit=2),
    "sweep": lambda model: ls.sweep(model, "builtin:cloze", variants="skip", limit=2, bootstrap=0),
    "generate": lambda model: ls.generate(model, "w5"),
}


@pytest.mark.parametrize("kind", HEADLESS)
@pytest.mark.parametrize("road", ROADS)
def test_a_model_without_a_vocabulary_head_is_refused(kind, road):
    model = wrap_module(HEADLESS[kind](), word_tokenizer(), name="x")
    with pytest.raises(ModelError, match="predicts no next token") as error:
        ROADS[road](model)
    assert str(error.value).count("\n") <= 1
    assert "use a decoder" in str(error.value) or "AutoModelForCausalLM" in str(error.value)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2", "opt", "bloom", "falcon", "gemma2", "phi"])
def test_every_decoder_has_one(family):
    require_vocabulary_head(wrap_module(tiny_module(family), name="x"))


def overflowing(value: float = torch.inf) -> Model:
    module = tiny_module("llama")
    model = wrap_module(module, word_tokenizer(), name="broken")
    with torch.no_grad():
        module.model.layers[2].mlp.down_proj.weight.fill_(value)
    return model


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_logits_that_are_no_numbers_are_refused(road, value):
    with pytest.raises(CaptureError, match="is not finite under the schedule") as error:
        ROADS[road](overflowing(value))
    assert ("builtin:cloze example" in str(error.value)) == (road != "generate")


def test_choices_are_refused_as_well():
    with pytest.raises(CaptureError, match=r"builtin:commonsense example c\d+a.* under the schedule 0-3"):
        ls.evaluate(overflowing(), "builtin:commonsense")


def test_a_masked_part_of_the_vocabulary_is_no_fault():
    module = tiny_module("llama")
    wanted = ls.generate(wrap_module(module, word_tokenizer(), name="x"), "w5 w6", max_new_tokens=6)
    unused = next(f"w{i}" for i in range(90) if f"w{i}" not in wanted.split())
    masked = word_tokenizer().convert_tokens_to_ids(unused)

    def mask(head, args, logits):
        return logits.index_fill(-1, torch.tensor([masked]), -torch.inf)

    module.lm_head.register_forward_hook(mask)
    assert ls.generate(wrap_module(module, word_tokenizer(), name="x"), "w5 w6", max_new_tokens=6) == wanted


def test_undefined_rows():
    inf, nan = torch.inf, torch.nan
    rows = torch.tensor([[0.0, 3e38], [-inf, 1.0], [nan, 1.0], [1.0, inf], [-inf, -inf], [-inf, inf]])
    assert undefined_rows(rows).tolist() == [False, False, True, True, True, True]
    assert undefined_rows(rows.reshape(3, 2, 2)).shape == (3, 2)
