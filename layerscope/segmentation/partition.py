"""Find the best contiguous partition of layers, exactly.

The criterion is that of kernel change-point detection (Harchaoui & Cappé 2007; Arlot, Celisse & Harchaoui,
arXiv 1202.3878) with the similarity as kernel: the cost of a segment of ``m`` layers is the sum over its pairs of
``1 - S``, divided by ``m``. The cost of a single layer is its own ``1 - S_ii``, which is 0 for a similarity.
"""

import numpy as np
from jaxtyping import Float

__all__ = ["best_partition", "optimal_partitions", "segment_costs"]

# Partitions whose costs differ by less than this, relative to the number of layers, are equal to rounding.
_TIE = 1e-12


def segment_costs(similarity: Float[np.ndarray, "layer layer"]) -> Float[np.ndarray, "start stop"]:
    """Return the cost of every segment ``start:stop``, infinite where it would be empty.

    2-D prefix sums of ``1 - S`` give the sum of a square in four look-ups, so the whole table is O(n²).

    Examples
    --------
    >>> import numpy as np
    >>> segment_costs(np.array([[1.0, 0.5], [0.5, 1.0]]))[0]
    array([inf, 0. , 0.5])
    """
    layers = len(similarity)
    prefix = np.zeros((layers + 1, layers + 1))
    prefix[1:, 1:] = (1.0 - similarity).cumsum(axis=0).cumsum(axis=1)
    corner = np.diagonal(prefix)
    sums = corner[None, :] - prefix - prefix.T + corner[:, None]
    size = np.arange(layers + 1)[None, :] - np.arange(layers + 1)[:, None]
    return np.where(size > 0, sums / np.maximum(size, 1), np.inf)


def optimal_partitions(similarity: Float[np.ndarray, "layer layer"], most: int) -> list[tuple[float, tuple[int, ...]]]:
    """Return, for 1 … `most` segments, the least cost and the first layer of each segment after the first.

    Dynamic programming over (segments, end), exact, in O(most · n²). Ties go to the partition with the earliest last
    boundary, then to the earliest second to last, and so on, so the answer does not depend on rounding.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
    >>> optimal_partitions(blocks, 2)
    [(2.0, ()), (0.0, (2,))]
    """
    costs = segment_costs(similarity)
    layers = len(similarity)
    tie = _TIE * layers
    least = np.full(layers + 1, np.inf)
    least[0] = 0.0
    origin: list[np.ndarray] = []
    partitions = []
    for count in range(1, most + 1):
        total = least[:, None] + costs
        floor = total.min(axis=0)
        origin.append((total <= floor + tie).argmax(axis=0))
        least = floor
        starts, stop = [], layers
        for segment in range(count - 1, 0, -1):
            stop = int(origin[segment][stop])
            starts.append(stop)
        partitions.append((max(float(least[layers]), 0.0), tuple(reversed(starts))))
    return partitions


def best_partition(similarity: Float[np.ndarray, "layer layer"], segments: int) -> tuple[int, ...]:
    """Return the first layer of each segment after the first, for the best partition into exactly `segments`."""
    return optimal_partitions(similarity, segments)[-1][1]
