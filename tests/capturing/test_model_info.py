"""What `layerscope info MODEL` prints."""

import json

import pytest

from layerscope.capturing.model_info import model_info
from layerscope.models.loading import wrap_module
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.mark.parametrize(
    ("family", "blocks", "attn", "law"),
    [("llama", "model.layers", "self_attn", "sum"), ("bert", "encoder.layer", "attention.output.dense", "post_norm")],
)
def test_what_was_found(family, blocks, attn, law):
    facts = model_info(wrap_module(tiny_module(family), word_tokenizer(), name="tiny"))
    assert (facts["family"], facts["blocks"], facts["width"], facts["chat_template"]) == (family, 4, 32, False)
    assert facts["tokenizer"] == type(word_tokenizer()).__name__
    assert facts["block_list"].endswith(blocks)
    assert (facts["sublayers"]["attn"], facts["sublayers"]["law"]) == (attn, law)
    assert facts["attention"] == ("causal" if family == "llama" else "both ways")
    assert facts["backends"]["hooks"] == facts["backends"]["nnsight"] == "yes"
    assert facts["head"] == ("lm_head" if family == "llama" else None)


def test_a_refusal_of_a_backend_is_its_reason():
    facts = model_info(wrap_module(tiny_module("distilbert"), None, name="tiny"))
    assert facts["backends"]["transformer-lens"].startswith("the transformer-lens backend does not support distilbert")
    assert facts["tokenizer"] is None


def test_the_command_describes_folders_and_files(tiny_folder, tmp_path):
    facts = json.loads(run("info", tiny_folder, "--json").stdout)
    assert (facts["kind"], facts["blocks"], facts["width"]) == ("model", 4, 32)
    assert "backends.nnsight" in run("info", tiny_folder).stdout
    run("capture", tiny_folder, "--texts", "builtin:passages", "--limit", "1", "--output", tmp_path / "a.h5")
    assert json.loads(run("info", tmp_path / "a.h5", "--json").stdout)["kind"] == "capture"
    assert "--stack is a part of a model" in run("info", tmp_path / "a.h5", "--stack", "encoder", code=2).stderr
    assert "there is no such file" in run("info", tmp_path / "none.h5", code=1).stderr
    assert "no-such-model" in run("info", "no-such-model", code=1).stderr
