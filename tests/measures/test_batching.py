"""Texts that share a prompt: the same model, the same texts, other batches, the same measures."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers

from layerscope.capturing.capture import capture
from layerscope.measures.analysis import analyze
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model

NAMES = ["two_nn", "knn_jaccard", "mutual_knn", "rank_similarity", "second_order_cosine", "cknna", "rsa", "rsa_kendall"]
PROMPT = "w1 w2 w3 w4 w5 w6 w7 w8 w9 "
TEXTS = [PROMPT + " ".join(f"w{10 + (7 * text + word) % 89}" for word in range(1 + text % 5)) for text in range(20)]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    module = tf.LlamaForCausalLM(tf.LlamaConfig(vocab_size=99, initializer_range=0.2, **size)).eval()
    words = Tokenizer(models.WordLevel({f"w{word}": word for word in range(99)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return wrap_module(module, tf.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1"), name="tiny")


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_batches_do_not_change_what_hangs_on_neighbours(model: Model, tmp_path: Path, tokens: str):
    texts = TEXTS if tokens == "all" else [text + more for text in TEXTS[:15] for more in ("", " w5")] + TEXTS[:9]
    results = []
    for size in (1, 40, 100_000):
        path = tmp_path / f"{size}.h5"
        capture(model, texts, path, batch_tokens=size, tokens=tokens)
        results.append(analyze(path, measures=NAMES))
    for result in results[1:]:
        for name in NAMES:
            np.testing.assert_allclose(result[name], results[0][name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_prompt_that_texts_share_counts_once(model: Model, tmp_path: Path):
    path = tmp_path / "shared.h5"
    capture(model, TEXTS, path)
    seen = {tuple(text.split()[:length]) for text in TEXTS for length in range(1, len(text.split()) + 1)}
    assert analyze(path, measures="mutual_knn")["mutual_knn"].attrs["distinct_tokens"] == len(seen)
