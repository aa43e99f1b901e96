"""The table of architectures: where a model family keeps its blocks, its final norm and its head.

Data only. One row describes one family of the transformers library (its ``model_type``). Every load checks its row on the loaded
weights (`layerscope.models.architecture_check`). ``docs/extending.md`` explains how to add a row.
"""

from dataclasses import dataclass
from typing import Any

from layerscope.errors import ModelError

__all__ = ["ARCHITECTURES", "Architecture", "find_row"]


@dataclass(frozen=True)
class Architecture:
    """Where one family keeps its parts; paths are relative to the trunk (the model without its head).

    Attributes
    ----------
    family
        ``model_type`` of the configuration.
    blocks
        The module list whose items carry the residual stream from one state to the next.
    final_norm
        The norm after the last block, or None for a family without one (post-norm encoders).
    head
        The vocabulary head, relative to the complete model; None if it is not a single module.
    causal
        True for decoders, in which no token attends to a later one.
    tuple_output
        True if a block returns a tuple whose first item is the stream.
    position_ids
        True if the trunk takes ``position_ids``; False if it derives positions from the ids or the mask.
    positions
        The table of learned positions; None if positions are rotary or ALiBi.
    stacks
        True if ``torch.vmap`` can run a block; False if the block uses an ``autograd.Function`` that ``vmap`` cannot run.
    """

    family: str
    blocks: str
    final_norm: str | None
    head: str | None = "lm_head"
    causal: bool = True
    tuple_output: bool = False
    position_ids: bool = True
    positions: str | None = None
    stacks: bool = True


def _decoder(family: str, blocks: str = "layers", final_norm: str = "norm", **facts: Any) -> Architecture:
    return Architecture(family, blocks, final_norm, **facts)


def _encoder(family: str, blocks: str = "encoder.layer", **facts: Any) -> Architecture:
    positions = "embeddings.position_embeddings"
    return Architecture(family, blocks, final_norm=None, head=None, causal=False, positions=positions, **facts)


ARCHITECTURES: dict[str, Architecture] = {
    row.family: row
    for row in (
        _decoder("gpt_neox", final_norm="final_layer_norm"),
        _decoder("llama"),
        _decoder("mistral"),
        _decoder("qwen2"),
        _decoder("qwen3"),
        _decoder("gemma2"),
        _decoder("gemma3_text"),
        _decoder("gpt2", "h", "ln_f", positions="wpe"),
        _decoder("opt", "decoder.layers", "decoder.final_layer_norm", positions="decoder.embed_positions"),
        _decoder("phi", final_norm="final_layernorm"),
        _decoder("olmo2"),
        _decoder("bloom", "h", "ln_f", tuple_output=True, position_ids=False, stacks=False),
        _decoder("falcon", "h", "ln_f", tuple_output=True),
        _encoder("bert"),
        _encoder("roberta", position_ids=False),
        _encoder("distilbert", "transformer.layer"),
        _encoder("electra"),
    )
}


def find_row(family: object, name: str) -> Architecture:
    """Return the row of a family.

    Raises
    ------
    ModelError
        The family has none.
    """
    row = ARCHITECTURES.get(family) if isinstance(family, str) else None
    if row is None:
        raise ModelError(
            f"{name}: the family {family!r} is not in the architecture table ({', '.join(ARCHITECTURES)}).\n"
            "Add a row to layerscope/models/architectures.py, as docs/extending.md explains; the next load checks it."
        )
    return row
