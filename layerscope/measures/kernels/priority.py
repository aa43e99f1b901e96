"""The priority of numbered items in a seeded sample: a hash, so that their order and chunks do not matter."""

import numpy as np
from jaxtyping import Int, UInt64

__all__ = ["row_priority"]


def row_priority(row: Int[np.ndarray, " token"], seed: int) -> UInt64[np.ndarray, " token"]:
    """Hash row numbers and a seed to 64 evenly spread bits (the finalizer of splitmix64).

    Examples
    --------
    >>> bool((row_priority(np.arange(3), 0) == row_priority(np.arange(3), 0)).all())
    True
    """
    with np.errstate(over="ignore"):
        bits = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(
            (seed + 1) * 0xD1342543DE82EF95 % 2**64
        )
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return bits
