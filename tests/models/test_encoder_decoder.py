"""The two stacks of an encoder-decoder, each as a model of its own."""

import copy

import pytest
import torch
import transformers as tf

import layerscope as ls
from layerscope.errors import ModelError, UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.families.tiny_modules import random_module
from tests.tokenizers import word_tokenizer

FAMILIES = ("t5", "bart", "mbart")
IDS = torch.tensor([[7, 11, 9, 21, 8]])


@pytest.fixture(scope="module", params=FAMILIES)
def module(request):
    return random_module(request.param)


def test_the_encoder_has_the_states_that_it_has_in_the_whole_model(module):
    encoder = wrap_module(module, name="tiny", stack="encoder")
    with torch.no_grad():
        whole = module(input_ids=IDS, decoder_input_ids=IDS).encoder_last_hidden_state
        alone = encoder.trunk(**encoder.inputs(IDS, torch.ones_like(IDS)))[0]
    assert torch.equal(whole, alone)
    assert (encoder.name, encoder.depth, encoder.architecture.causal) == ("tiny:encoder", 4, False)


def test_the_decoder_reads_a_text_as_a_language_model(module):
    decoder = wrap_module(module, name="tiny", stack="decoder")
    assert module.get_decoder() in (decoder.module, decoder.trunk)
    assert (decoder.name, decoder.depth, decoder.architecture.causal) == ("tiny:decoder", 4, True)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_the_identity_schedule_is_the_stack_and_a_skip_is_not(module, stack):
    model = wrap_module(module, name="tiny", stack=stack)
    outputs = []
    for spec in ("identity", "skip:1", "3 2 1 0"):
        with scheduled(model, spec), torch.no_grad():
            outputs.append(model.trunk(**model.inputs(IDS, torch.ones_like(IDS)))[0])
    with torch.no_grad():
        own = model.trunk(**model.inputs(IDS, torch.ones_like(IDS)))[0]
    assert torch.equal(outputs[0], own)
    assert all(not torch.equal(changed, own) for changed in outputs[1:])


def test_a_position_bias_that_the_first_block_makes_reaches_all_others_under_any_schedule():
    """T5's block 0 hands its position bias on: without it, a schedule that begins elsewhere would run without positions."""
    module = random_module("t5")
    model = wrap_module(module, name="t5", stack="encoder")
    assert [bool(form.handed_on) for form in model.architecture.outputs] == [True, False, False, False]
    inputs = model.inputs(IDS, torch.ones_like(IDS))
    stack = model.module
    with torch.no_grad():
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(5, 5)
        stream = stack.embed_tokens(IDS)
        for block in (2, 3):
            stream = stack.block[block](stream, position_bias=bias)[0]
        by_hand = stack.final_layer_norm(stream)
        with scheduled(model, "2 3"):
            got = model.trunk(**inputs)[0]
    torch.testing.assert_close(got, by_hand)


def test_without_a_choice_the_two_stacks_are_named(module):
    with pytest.raises(ModelError) as error:
        ls.load_model(module)
    assert str(error.value) == (
        f"{type(module).__name__}: {type(module).__name__} is an encoder-decoder, whose two stacks carry a stream each.\n"
        "Take one of them: --stack encoder or --stack decoder (in Python stack=…)."
    )


def test_a_stack_of_a_model_that_has_one_is_wrong_use():
    with pytest.raises(UsageError, match="LlamaForCausalLM is no encoder-decoder: leave out --stack"):
        wrap_module(tiny_module("llama"), name="tiny", stack="decoder")


def test_the_sizes_are_those_of_the_stack():
    size = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 97}
    config = tf.BartConfig(**size, encoder_layers=3, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16)
    module = tf.BartModel(config)
    assert [wrap_module(module, name="bart", stack=stack).depth for stack in ("encoder", "decoder")] == [3, 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny-t5"
    module = random_module("t5")
    module.config.eos_token_id = None
    module.save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_stack_is_captured_from_a_folder_at_the_command_line(folder, stack, tmp_path):
    file = tmp_path / "run.h5"
    texts = tmp_path / "texts.txt"
    texts.write_text("w1 w2 w3 w4 w5\n")
    run("capture", folder, "--texts", texts, "--stack", stack, "--output", file, cwd=tmp_path)
    with ls.open_capture(file) as capture:
        assert capture.attrs["model"] == f"tiny-t5:{stack}"
        assert capture.sizes["layer"] == 5


def test_an_unknown_stack_is_wrong_use(folder):
    with pytest.raises(UsageError, match="stack"):
        ls.capture(folder, ["w1 w2"], "run.h5", stack="middle")


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    """A folder of an encoder-decoder whose decoder has a class of its own in transformers."""
    path = tmp_path_factory.mktemp("models") / "tiny-bart"
    random_module("bart").save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return path


def test_the_decoder_has_the_head_of_the_whole_model_and_generates_as_its_own_class_does(bart):
    module = tf.BartForConditionalGeneration.from_pretrained(bart)
    alone = tf.BartForCausalLM(copy.deepcopy(module.config)).eval()
    alone.model.decoder.load_state_dict(module.model.decoder.state_dict())
    alone.lm_head.load_state_dict(module.lm_head.state_dict())
    decoder = wrap_module(module, word_tokenizer(), name="tiny", stack="decoder")
    ids = torch.tensor([[7, 11, 9]])
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "forced_eos_token_id": None}
    expected = alone.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, 3:]
    tokenizer = word_tokenizer()
    assert ls.generate(decoder, tokenizer.decode([7, 11, 9]), max_new_tokens=4) == tokenizer.decode(expected)
    assert module.config.is_encoder_decoder  # the model of the caller stays as it was


def test_a_head_that_gives_other_logits_than_the_whole_model_is_left_out():
    module = random_module("bart")
    with torch.no_grad():
        module.final_logits_bias.fill_(0.5)  # added behind the head
    decoder = wrap_module(module, word_tokenizer(), name="tiny", stack="decoder")
    assert decoder.module is module.get_decoder()
    with pytest.raises(ModelError) as error:
        ls.evaluate(decoder, "builtin:cloze", limit=1)
    assert str(error.value) == (
        "tiny:decoder: BartDecoder has no head over its vocabulary, so it predicts no next token.\n"
        "The head of the whole model cannot be put behind its decoder alone; capture works without."
    )


def test_generate_and_evaluate_take_the_decoder_by_name(bart):
    decoder = ls.load_model(bart, stack="decoder")
    assert ls.generate(bart, "w1 w2", "skip:1", max_new_tokens=3, stack="decoder") == ls.generate(
        decoder, "w1 w2", "skip:1", max_new_tokens=3
    )
    by_name = ls.evaluate(bart, "builtin:cloze", limit=2, stack="decoder")
    assert by_name["model"] == "tiny-bart:decoder"
    assert by_name["metrics"] == ls.evaluate(decoder, "builtin:cloze", limit=2)["metrics"]


def test_a_finished_sweep_of_a_stack_is_returned_without_loading_the_model(bart, tmp_path, monkeypatch):
    sweep = {"schedule": "skip:1", "limit": 2, "bootstrap": 0, "output": tmp_path / "s.nc", "stack": "decoder"}
    first = ls.sweep(bart, "builtin:cloze", **sweep)
    assert first.attrs["model"] == "tiny-bart:decoder"
    monkeypatch.setattr("layerscope.evaluation.sweep.as_model", None)
    assert ls.sweep(bart, "builtin:cloze", **sweep, resume=True).identical(first)


@pytest.mark.parametrize(
    "command", [("generate", "w1 w2"), ("evaluate", "--task", "builtin:cloze"), ("sweep", "--task", "builtin:cloze")]
)
def test_the_encoder_predicts_no_token_at_the_command_line(bart, command, tmp_path):
    name, *rest = command
    done = run(name, bart, *rest, "--stack", "encoder", cwd=tmp_path, code=1)
    assert "tiny-bart:encoder is an encoder and predicts no next token: use a decoder" in done.stderr


def test_an_encoder_of_sounds_says_what_it_reads():
    with pytest.raises(ModelError) as error:
        wrap_module(random_module("whisper"), name="tiny", stack="encoder")
    assert str(error.value) == (
        "tiny:encoder: WhisperEncoder reads input_features, which neither texts nor images give.\n"
        "A capture takes texts: give a part of the model that reads them."
    )


def test_a_decoder_that_needs_its_encoder_is_refused_for_that():
    with pytest.raises(ModelError) as error:
        wrap_module(random_module("t5gemma"), name="tiny", stack="decoder")
    assert str(error.value) == (
        "tiny:decoder: cannot be read as a model (ValueError: `encoder_hidden_states` must be given in decoder); a forward pass "
        "fails: a decoder that needs the states of its encoder cannot be taken alone"
    )
