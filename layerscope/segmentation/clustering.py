"""Segmentation by agglomerative clustering, as a cross-check.

scikit-learn starts from single layers and merges the pair of neighbouring segments with the lowest cost, while
`layerscope.segmentation.segmentation` searches all partitions. Where both agree, the segments are clear; where they do
not, the matrix has no clear-cut segments.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.sparse import csr_array
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from layerscope.errors import MeasureError, UsageError
from layerscope.segmentation.segmentation import Segmentation, describe_partition, similarity_matrix

__all__ = ["agreement", "segment_agglomerative"]


def segment_agglomerative(similarity: xr.DataArray | np.ndarray, segments: int = 3) -> Segmentation:
    r"""Cut the layers into segments by agglomerative clustering under a chain connectivity.

    Layers become points whose inner products are the similarity: its eigenvectors, scaled by the square roots of the
    non-negative eigenvalues. Ward's linkage merges neighbours, and its increment equals the increase of the cost that
    `segment` minimises. The result is therefore the greedy solution of the problem that `segment` solves exactly.

    Average linkage on a precomputed distance is not used: under a connectivity, scikit-learn reads only the distances
    along the edges. On a chain these never change, so it would cut at the largest steps between neighbours and ignore
    the rest of the matrix.

    Parameters
    ----------
    similarity
        Symmetric, ``[layer, layer_other]``, as for `layerscope.segmentation.segmentation.segment`.
    segments
        Number of segments.

    Raises
    ------
    UsageError
        `segments` is below 1; the matrix is a distance.
    MeasureError
        The matrix is not square or not symmetric, contains NaN, or has too few layers.

    Examples
    --------
    >>> segment_agglomerative(np.kron(np.eye(3), np.ones((2, 2)))).boundaries
    (2, 4)
    """
    matrix = similarity_matrix(similarity)
    layers = len(matrix)
    if segments < 1:
        raise UsageError(f"segments is {segments}, expected a whole number of at least 1")
    if segments > layers:
        raise MeasureError(f"{layers} layers cannot be cut into {segments} segments: use at most {layers}")
    if layers == 1:
        return describe_partition(similarity, matrix, ())
    clustering = AgglomerativeClustering(n_clusters=segments, connectivity=_chain(layers), linkage="ward")
    cluster = clustering.fit(_points(matrix)).labels_
    starts = tuple(int(place) for place in np.flatnonzero(np.diff(cluster)) + 1)
    return describe_partition(similarity, matrix, starts)


def agreement(one: Segmentation, other: Segmentation) -> float:
    """Return the adjusted Rand index of two segmentations of the same layers: 1 if equal, about 0 by chance.

    Source: Hubert & Arabie 1985, through scikit-learn.

    Raises
    ------
    MeasureError
        They have different numbers of layers.

    Examples
    --------
    >>> halves = segment_agglomerative(np.kron(np.eye(2), np.ones((2, 2))), segments=2)
    >>> agreement(halves, halves)
    1.0
    """
    if sum(one.sizes) != sum(other.sizes):
        raise MeasureError(
            f"segmentations of {sum(one.sizes)} and {sum(other.sizes)} layers cannot be compared: "
            "use segmentations of one capture"
        )
    return float(adjusted_rand_score(_owners(one), _owners(other)))


def _chain(layers: int) -> csr_array:
    """Return the connectivity in which each layer is connected with the previous and the next."""
    before = np.arange(layers - 1)
    rows, columns = np.concatenate([before, before + 1]), np.concatenate([before + 1, before])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(layers, layers))


def _points(matrix: Float[np.ndarray, "layer layer"]) -> Float[np.ndarray, "layer axis"]:
    values, vectors = np.linalg.eigh(matrix)
    points: np.ndarray = vectors * np.sqrt(np.clip(values, 0.0, None))
    return points


def _owners(segmentation: Segmentation) -> np.ndarray:
    return np.repeat(np.arange(len(segmentation.sizes)), segmentation.sizes)
