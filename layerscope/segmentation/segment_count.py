"""Choose the number of segments of a similarity matrix (``--segments auto``).

The rule has two steps.

1. Take the number of segments whose best partition has the highest mean silhouette (Rousseeuw 1987).
2. Test it against drift. Similarity falls with distance in depth in any deep network, and cutting a steady drift into
   pieces has a high silhouette too. Each diagonal of the matrix (all pairs at one distance) is shuffled, which keeps the
   drift and removes every boundary. If the silhouette does not exceed 19 in 20 of the shuffled matrices, the answer is
   one segment.

Limits: where a steep drift and sharp boundaries meet, the rule may cut the drift too. It may miss a single layer that
differs at one end of a steep drift, because few pairs are that far apart.

The shuffles are seeded, so the answer is reproducible.
"""

import numpy as np
from jaxtyping import Float

from layerscope.segmentation.partition import optimal_partitions

__all__ = ["MOST_SEGMENTS", "choose_segment_count", "mean_silhouette"]

MOST_SEGMENTS = 8
_SHUFFLES = 199
_ALLOWED = 9  # (1 + 9) of (1 + 199) is 1 in 20
_EQUAL = 1e-9


def mean_silhouette(similarity: Float[np.ndarray, "layer layer"], starts: tuple[int, ...]) -> float:
    """Return the mean silhouette, ``(b - a) / max(a, b)`` averaged over layers, with ``1 - S`` as the distance.

    For a layer, ``a`` is its mean distance to the others of its segment and ``b`` the least of its mean distances to
    another segment. The only layer of a segment counts as 0, as in scikit-learn.
    """
    layers = len(similarity)
    bounds = np.array([0, *starts, layers])
    sizes = np.diff(bounds)
    own = np.repeat(np.arange(len(sizes)), sizes)
    layer = np.arange(layers)
    sums = np.add.reduceat(1.0 - similarity, bounds[:-1], axis=1)
    within = sums[layer, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[layer, own] = np.inf
    nearest = means.min(axis=1)
    larger = np.maximum(within, nearest)
    silhouette = np.divide(nearest - within, larger, out=np.zeros(layers), where=larger > 0)
    return float(np.where(sizes[own] > 1, silhouette, 0.0).mean())


def _best(similarity: Float[np.ndarray, "layer layer"], most: int) -> tuple[float, int]:
    """Return the highest mean silhouette over 2 … `most` segments and the smallest number that reaches it."""
    values = [mean_silhouette(similarity, starts) for _, starts in optimal_partitions(similarity, most)[1:]]
    best = max(values)
    return best, 2 + next(index for index, value in enumerate(values) if value >= best - _EQUAL)


def _shuffled_diagonals(
    similarity: Float[np.ndarray, "layer layer"], generator: np.random.Generator
) -> Float[np.ndarray, "layer layer"]:
    """Return the matrix with each diagonal shuffled: same similarities at every distance in depth, no boundaries."""
    layers = len(similarity)
    shuffled = np.diag(np.diagonal(similarity)).astype(np.float64)
    for distance in range(1, layers):
        values = generator.permutation(np.diagonal(similarity, distance))
        rows = np.arange(layers - distance)
        shuffled[rows, rows + distance] = values
        shuffled[rows + distance, rows] = values
    return shuffled


def choose_segment_count(similarity: Float[np.ndarray, "layer layer"]) -> int:
    """Return the number of segments, 1 … 8, that the matrix supports, by the rule of this module.

    Examples
    --------
    >>> import numpy as np
    >>> choose_segment_count(np.kron(np.eye(3), np.ones((4, 4))))
    3
    >>> depth = np.arange(12)
    >>> choose_segment_count(np.exp(-np.abs(depth[:, None] - depth) / 6))
    1
    """
    most = min(MOST_SEGMENTS, len(similarity) - 1)
    if most < 2:
        return 1
    best, count = _best(similarity, most)
    generator = np.random.default_rng(0)
    as_good = 0
    for _ in range(_SHUFFLES):
        as_good += _best(_shuffled_diagonals(similarity, generator), most)[0] >= best - _EQUAL
        if as_good > _ALLOWED:
            return 1
    return count
