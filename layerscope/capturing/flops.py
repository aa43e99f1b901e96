"""Count the floating-point operations of the blocks of a model, from its sizes."""

from collections.abc import Iterable

__all__ = ["forward_flops"]


def forward_flops(parameters: int, blocks: int, attention_width: int, batches: Iterable[tuple[int, int]]) -> int:
    """Return the floating-point operations of a forward pass: 2 × parameters × tokens, and attention.

    Each block multiplies every query with every key and every weight with every value: 4 × width × length² a text, the masked
    half included. Of a mixture of experts all parameters count, so the result is a bound.

    Parameters
    ----------
    parameters
        Of the blocks that run; of a block that runs twice, twice.
    blocks
        Number of calls of a block.
    attention_width
        Heads × width of a head; 0 without attention.
    batches
        Texts and padded length of each batch.

    Examples
    --------
    >>> forward_flops(parameters=1000, blocks=2, attention_width=8, batches=[(1, 10)])
    26400
    """
    return sum(
        2 * parameters * texts * length + 4 * attention_width * blocks * texts * length**2 for texts, length in batches
    )
