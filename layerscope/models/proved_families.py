"""The model families that the test suite proves on a tiny random model. Data only: no code of LayerScope asks for a family here.

Other families are found and proved in the same way when they are loaded.
"""

__all__ = ["PROVED_FAMILIES"]

_DECODERS = (
    "gpt_neox",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "opt",
    "phi",
    "olmo2",
    "bloom",
    "falcon",
)
_ENCODERS = ("bert", "roberta", "distilbert", "electra")

PROVED_FAMILIES: dict[str, str] = dict.fromkeys(_DECODERS, "decoder") | dict.fromkeys(_ENCODERS, "encoder")
"""Name of the family (``model_type`` of transformers) and its kind."""
