"""Tiny random models, one of each family in the architecture table, made on the spot.

Every test that speaks of "each family" crosses with `FAMILIES`. Weights are scaled up so that blocks matter, and the
sliding windows are shorter than the test sequences so that they bite.
"""

from functools import cache

import torch
import transformers as tf

from layerscope.models.loading import wrap_module
from layerscope.models.model import Model

VOCABULARY = 97
DEPTH = 4

_SPECIAL = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
} | _SPECIAL
_WIDE = _SIZE | {"intermediate_size": 64}
_GROUPED = _WIDE | {"num_key_value_heads": 2}
_BLOOM = {"hidden_size": 32, "n_layer": DEPTH, "n_head": 4, "vocab_size": VOCABULARY} | _SPECIAL

CONFIGS = {
    "gpt_neox": lambda: tf.GPTNeoXConfig(**_WIDE),
    "llama": lambda: tf.LlamaConfig(**_GROUPED),
    "mistral": lambda: tf.MistralConfig(**_GROUPED, sliding_window=5),
    "qwen2": lambda: tf.Qwen2Config(**_GROUPED),
    "qwen3": lambda: tf.Qwen3Config(**_GROUPED, head_dim=8),
    "gemma2": lambda: tf.Gemma2Config(**_GROUPED, head_dim=8, sliding_window=5),
    "gemma3_text": lambda: tf.Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=5),
    "gpt2": lambda: tf.GPT2Config(
        n_embd=32, n_layer=DEPTH, n_head=4, vocab_size=VOCABULARY, n_positions=64, **_SPECIAL
    ),
    "opt": lambda: tf.OPTConfig(
        **_SIZE,
        ffn_dim=64,
        word_embed_proj_dim=32,
    ),
    "phi": lambda: tf.PhiConfig(**_WIDE),
    "olmo2": lambda: tf.Olmo2Config(**_WIDE),
    "bloom": lambda: tf.BloomConfig(**_BLOOM),
    "falcon": lambda: tf.FalconConfig(**_SIZE),
    "bert": lambda: tf.BertConfig(**_WIDE),
    "roberta": lambda: tf.RobertaConfig(**_WIDE | {"pad_token_id": 1}),
    "distilbert": lambda: tf.DistilBertConfig(
        dim=32,
        n_layers=DEPTH,
        n_heads=4,
        hidden_dim=64,
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        pad_token_id=0,
    ),
    "electra": lambda: tf.ElectraConfig(**_WIDE, embedding_size=16),
}
FAMILIES = tuple(CONFIGS)
ENCODERS = ("bert", "roberta", "distilbert", "electra")


def tiny_module(family: str, seed: int = 0, **changes: object) -> torch.nn.Module:
    """Make a fresh random module of `family`, its configuration changed in some settings."""
    auto = tf.AutoModelForMaskedLM if family in ENCODERS else tf.AutoModelForCausalLM
    config = CONFIGS[family]()
    config.update(changes)
    config.architectures = [auto._model_mapping[type(config)].__name__]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = auto.from_config(config).eval()
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(3)
    return module


@cache
def tiny_model(family: str) -> Model:
    """Return a shared tiny model; tests must leave it as they found it."""
    return wrap_module(tiny_module(family), name=f"tiny-{family}")
