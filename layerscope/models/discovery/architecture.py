"""The findings of discovery: where a model keeps its blocks, its stream, its final norm and its head.

Plain data, made by `layerscope.models.discovery` for each loaded model and proved by `layerscope.models.proof`. No family has an
entry anywhere.
"""

from dataclasses import dataclass

from layerscope.models.discovery.streams import OutputForm, StreamPlaces

__all__ = ["Architecture"]


@dataclass(frozen=True)
class Architecture:
    """Where one model keeps its parts.

    Attributes
    ----------
    family
        ``model_type`` of the configuration.
    main_input
        The argument that takes what the model reads: ``input_ids``, or ``pixel_values`` of a model in which a token is a patch.
    trunk
        Path of the trunk: the innermost module that takes the model's inputs and runs all blocks. Empty if it is the model.
    blocks
        Path of the module list of the blocks, relative to the trunk.
    items
        The items of the list that run, in running order: a list may be longer than what runs.
    stream
        Where the stream is among the arguments and in the output of a block.
    outputs
        The form of the output of each block.
    final_norm
        Path of the norm after the last block, relative to the trunk; None for a model without one (post-norm encoders).
    head
        Path of the vocabulary head of a decoder; None for encoders, and for models without a head that ran.
    causal
        True if no token attends to a later one.
    position_ids
        True if the trunk takes ``position_ids`` that count from 0; False if it derives positions from the ids or the mask.
    cache
        Name of the argument that takes the key-value cache; None for a model that returns none, or whose outputs with its cache
        are not those of the whole text.
    positions
        Path of the table of learned positions, relative to the trunk; None if positions are rotary or ALiBi.
    first_position
        The row of that table that belongs to the first token.
    """

    family: str
    main_input: str
    trunk: str
    blocks: str
    items: tuple[int, ...]
    stream: StreamPlaces
    outputs: tuple[OutputForm, ...]
    final_norm: str | None
    head: str | None
    causal: bool
    position_ids: bool
    cache: str | None
    positions: str | None
    first_position: int = 0
