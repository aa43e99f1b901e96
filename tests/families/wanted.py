"""The families that the conformance suite runs in depth, and where the library keeps their blocks, written down by hand."""

from typing import NamedTuple

__all__ = ["DECODERS", "ENCODERS", "STACKS", "WANTED", "Wanted"]


class Wanted(NamedTuple):
    """One family: its model type (and stack), and the paths of its blocks and final norm in the module."""

    family: str
    blocks: str
    final_norm: str | None


DECODERS = tuple(
    Wanted(*row)
    for row in (
        ("qwen3_moe", "model.layers", "model.norm"),
        ("gpt_oss", "model.layers", "model.norm"),
        ("mixtral", "model.layers", "model.norm"),
        ("olmoe", "model.layers", "model.norm"),
        ("gemma3", "model.language_model.layers", "model.language_model.norm"),
        ("gemma", "model.layers", "model.norm"),
        ("phi3", "model.layers", "model.norm"),
        ("olmo3", "model.layers", "model.norm"),
        ("olmo", "model.layers", "model.norm"),
        ("qwen3_next", "model.layers", "model.norm"),
        ("qwen3_5", "model.language_model.layers", "model.language_model.norm"),
        ("qwen3_5_text", "model.layers", "model.norm"),
        ("smollm3", "model.layers", "model.norm"),
        ("gpt_neo", "transformer.h", "transformer.ln_f"),
        ("gptj", "transformer.h", "transformer.ln_f"),
        ("deepseek_v2", "model.layers", "model.norm"),
        ("deepseek_v3", "model.layers", "model.norm"),
        ("glm4_moe", "model.layers", "model.norm"),
        ("llama4", "language_model.model.layers", "language_model.model.norm"),
        ("llama4_text", "model.layers", "model.norm"),
        ("granite", "model.layers", "model.norm"),
        ("cohere", "model.layers", "model.norm"),
        ("cohere2", "model.layers", "model.norm"),
        ("stablelm", "model.layers", "model.norm"),
        ("starcoder2", "model.layers", "model.norm"),
        ("codegen", "transformer.h", "transformer.ln_f"),
        ("mpt", "transformer.blocks", "transformer.norm_f"),
        ("exaone4", "model.layers", "model.norm"),
        ("mamba", "backbone.layers", "backbone.norm_f"),
        ("mamba2", "backbone.layers", "backbone.norm_f"),
        ("falcon_h1", "model.layers", "model.final_layernorm"),
        ("jamba", "model.layers", "model.final_layernorm"),
    )
)
ENCODERS = tuple(
    Wanted(*row)
    for row in (
        ("modernbert", "model.layers", "model.final_norm"),
        ("mpnet", "mpnet.encoder.layer", None),
        ("xlm-roberta", "roberta.encoder.layer", None),
        ("deberta-v2", "deberta.encoder.layer", None),
    )
)
STACKS = tuple(
    Wanted(*row)
    for row in (
        ("t5:encoder", "encoder.block", "encoder.final_layer_norm"),
        ("t5:decoder", "decoder.block", "decoder.final_layer_norm"),
        ("bart:encoder", "model.encoder.layers", None),
        ("bart:decoder", "model.decoder.layers", None),
        ("whisper:decoder", "model.decoder.layers", "model.decoder.layer_norm"),
    )
)
"""Stacks of encoder-decoders, each a model of its own."""

WANTED = DECODERS + ENCODERS + STACKS
