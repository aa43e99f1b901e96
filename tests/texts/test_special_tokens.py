"""What tokenizers put around a text, told apart from the text."""

import pytest
from tokenizers import Tokenizer, models
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from layerscope.texts.special_tokens import appended_tokens, encode_open, prepended_tokens
from tests.tokenizers import word_tokenizer


def tokenizer(template: str | None, **special: str):
    """Return a tokenizer of words that puts the template around each text; ``w90`` to ``w94`` may be special."""
    made = word_tokenizer()
    made.add_special_tokens({f"{name}_token": token for name, token in special.items()})
    if template is not None:
        pieces = [(token, made.convert_tokens_to_ids(token)) for token in ("w90", "w91", "w94")]
        made.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=pieces)
    return made


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (None, [], []),
        ("$A w94", [], ["w94"]),
        ("w94 $A", ["w94"], []),
        ("w90 $A w94", ["w90"], ["w94"]),
        ("w90 w91 $A w91 w94", ["w90", "w91"], ["w91", "w94"]),
    ],
)
@pytest.mark.parametrize("special", [{}, {"eos": "w94"}, {"bos": "w94", "eos": "w94"}])
def test_parts(template, before, after, special):
    made = tokenizer(template, **special)
    ids = made.convert_tokens_to_ids
    assert prepended_tokens(made) == tuple(ids(before))
    assert appended_tokens(made) == tuple(ids(after))
    for text in ("w1", "w1 w2 w3", "w94", "w1 w94", "w90 w1"):
        assert encode_open(made, text) == ids([*before, *text.split()])


def test_an_empty_text():
    assert encode_open(tokenizer(None), "") == []


def test_a_probe_that_the_tokenizer_fails_on_is_passed_over():
    tokenizer = Tokenizer(models.WordLevel({"the": 0, "w1": 1}, unk_token="none"))  # "a" and "0" raise an error
    tokenizer.post_processor = TemplateProcessing(single="w1 $A", special_tokens=[("w1", 1)])
    assert prepended_tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer)) == (1,)
