"""Group sequences into batches, and pad a batch into one tensor.

Pure functions of numbers, independent of texts, tokenizers and models.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int64

from layerscope.errors import at_least

__all__ = ["pad_batch", "plan_batches", "position_ids"]


def plan_batches(
    lengths: Int[np.ndarray, " sequence"],
    batch_tokens: int,
    window: int = 4096,
    groups: Int[np.ndarray, " sequence"] | None = None,
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Group sequences of similar length into batches under a token budget.

    Each window of consecutive sequences is sorted by length, longest first (ties in input order), and cut greedily into batches
    with ``count * longest <= batch_tokens``. A sequence longer than the budget runs alone. Sequences of different `groups` never
    share a batch. The plan depends only on the arguments, so a resumed run makes the same batches.

    Parameters
    ----------
    lengths
        Number of tokens of each sequence, ``[sequence]``.
    batch_tokens
        Maximum number of tokens in a batch, padding included.
    window
        Maximum number of sequences sorted together, and so the maximum change of place of a sequence.
    groups
        A number for each sequence, ``[sequence]``; None puts all into one group. See
        `layerscope.models.length_dependence.LengthDependence.groups`.

    Yields
    ------
    ndarray
        Indices of the sequences of one batch, longest first. Each index occurs in exactly one batch.

    Raises
    ------
    UsageError
        A budget or window below 1.

    Examples
    --------
    >>> [batch.tolist() for batch in plan_batches(np.array([3, 1, 9, 2, 3]), batch_tokens=6)]
    [[2], [0, 4], [3, 1]]
    """
    at_least(1, batch_tokens=batch_tokens, window=window)
    return _batches(lengths, batch_tokens, window, np.zeros(len(lengths), np.int64) if groups is None else groups)


def _batches(
    lengths: Int[np.ndarray, " sequence"], batch_tokens: int, window: int, groups: Int[np.ndarray, " sequence"]
) -> Iterator[Int[np.ndarray, " batch"]]:
    for start in range(0, len(lengths), window):
        order = start + np.argsort(-lengths[start : start + window], kind="stable")
        while len(order):
            longest = max(1, int(lengths[order[0]]))
            count = max(1, batch_tokens // longest)
            others = np.flatnonzero(groups[order[:count]] != groups[order[0]])
            count = int(others[0]) if len(others) else count
            yield order[:count]
            order = order[count:]


def pad_batch(
    sequences: Sequence[Int[np.ndarray, " _"]], pad_id: int, side: Literal["right", "left"]
) -> tuple[Int64[torch.Tensor, "batch position"], Int64[torch.Tensor, "batch position"]]:
    """Pad sequences to one length and stack them.

    Parameters
    ----------
    sequences
        Token ids, one array for each sequence; at least one.
    pad_id
        The token id of padding.
    side
        The side on which padding is added.

    Returns
    -------
    input_ids, attention_mask
        int64, ``[batch, position]``; the mask is 1 at real tokens and 0 at padding.

    Examples
    --------
    >>> input_ids, mask = pad_batch([np.array([5, 6, 7]), np.array([8])], pad_id=0, side="left")
    >>> input_ids.tolist(), mask.tolist()
    ([[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]])
    """
    longest = max(map(len, sequences))
    input_ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        start = 0 if side == "right" else longest - len(sequence)
        input_ids[row, start : start + len(sequence)] = sequence
        attention_mask[row, start : start + len(sequence)] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)


def position_ids(attention_mask: Int64[torch.Tensor, "batch position"]) -> Int64[torch.Tensor, "batch position"]:
    """Return the 0-based position of each real token in its own sequence; padding gets 0.

    Examples
    --------
    >>> position_ids(torch.tensor([[1, 1, 0], [0, 1, 1]])).tolist()
    [[0, 1, 0], [0, 0, 1]]
    """
    return (attention_mask.cumsum(dim=1) - 1) * attention_mask
