"""Tiny tokenizers made on the spot: of words, whose vocabulary fits the tiny models, and of pieces of real words."""

import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers

from layerscope.texts.sources import open_texts
from tests.families import VOCABULARY

WORDS = [f"w{number}" for number in range(VOCABULARY - 2)]
PIECES = 512  # a vocabulary of pieces; a model for it has to be made for it


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Split at spaces; ``w0`` … ``w94`` are the words, everything else is unknown."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: number + 2 for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def piece_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Pieces of words, learned from the built-in passages: texts and tasks differ to a tiny model, and stay short."""
    tokenizer = ByteLevelBPETokenizer()
    passages = (text.text for text in open_texts("builtin:passages"))
    tokenizer.train_from_iterator(passages, vocab_size=PIECES, special_tokens=["[PAD]", "[END]"], show_progress=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="[PAD]", eos_token="[END]"
    )
