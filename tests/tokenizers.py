"""A tiny tokenizer made on the spot, whose vocabulary fits the tiny models."""

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.families import VOCABULARY

WORDS = [f"w{number}" for number in range(VOCABULARY - 2)]


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Split at spaces; ``w0`` … ``w94`` are the words, everything else is unknown."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: number + 2 for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
