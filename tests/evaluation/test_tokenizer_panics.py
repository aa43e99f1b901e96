"""A panic of the tokenizers library on a text, whichever road the text takes: one line, and no word of Rust's."""

import pytest
import transformers
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import FixedLength

import layerscope as ls
from layerscope.errors import TextsError
from layerscope.evaluation.lm_eval.model import LmEvalModel
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.tokenizers import WORDS


@pytest.fixture
def model():
    """A model whose tokenizer panics on every text."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="none"))
    tokenizer.pre_tokenizer = FixedLength(length=0)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1")
    return wrap_module(tiny_module("llama"), fast, name="tiny", fingerprint=lambda: "f00")


ROADS = {
    "capture": lambda model, path: ls.capture(model, ["w1 w2"], path / "a.h5"),
    "capture with spans": lambda model, path: ls.capture(model, ["w1 w2"], path / "a.h5", spans=True),
    "analyze_model": lambda model, path: ls.analyze_model(model, ["w1 w2"]),
    "evaluate": lambda model, path: ls.evaluate(model, "builtin:cloze", limit=2),
    "sweep": lambda model, path: ls.sweep(model, "builtin:commonsense", output=path / "a.nc", limit=2),
    "generate": lambda model, path: ls.generate(model, "w1 w2"),
    "lm-eval": lambda model, path: LmEvalModel(model, "task").tok_encode("w1 w2"),
    "lm-eval, batches": lambda model, path: LmEvalModel(model, "task").tok_batch_encode(["w1 w2"]),
}


@pytest.mark.parametrize("road", ROADS)
def test_a_panic_on_a_text_is_one_line(model, road, tmp_path, capfd):
    with pytest.raises(TextsError, match=r"the tokenizer fails on .*PanicException: chunk size") as raised:
        ROADS[road](model, tmp_path)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""
