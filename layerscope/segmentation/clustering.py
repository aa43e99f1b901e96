"""The same segments by another road: scikit-learn's agglomerative clustering along the chain of layers.

It starts from single layers and joins neighbouring segments, each time the pair that costs least, where
`layerscope.segmentation.segmentation` searches all partitions at once. Where both agree the segments are plain to see;
where they do not, the matrix has no clear-cut structure. It knows neither models nor files.
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

    Layers become points whose inner products are the similarity (its eigenvectors scaled by the roots of its
    eigenvalues, negative ones left out), and Ward's linkage joins neighbours. Ward's increment is then the increase of
    the very cost `segment` minimises: this is the greedy answer to the question `segment` answers exactly.

    Not average linkage on a precomputed distance: scikit-learn's joins under a connectivity see only the distances
    along its edges, and on a chain those never change, so that it cuts at the largest steps between neighbours and
    looks at nothing else in the matrix.

    Parameters
    ----------
    similarity
        Symmetric, ``[layer, layer_other]``, as for `layerscope.segmentation.segmentation.segment`.
    segments
        How many.

    Raises
    ------
    UsageError
        `segments` is below 1; the matrix is a distance.
    MeasureError
        The matrix is not square, not symmetric, holds NaN or has too few layers.

    Examples
    --------
    >>> segment_agglomerative(np.kron(np.eye(3), np.ones((2, 2)))).boundaries
    (2, 4)
    """
    matrix = similarity_matrix(similarity)
    layers = len(matrix)
    if segments < 1:
        raise UsageError(f"segments is {segments}, expected a whole number from 1 on")
    if segments > layers:
        raise MeasureError(f"{layers} layers cannot be cut into {segments} segments: ask for at most {layers}")
    if layers == 1:
        return describe_partition(similarity, matrix, ())
    clustering = AgglomerativeClustering(n_clusters=segments, connectivity=_chain(layers), linkage="ward")
    cluster = clustering.fit(_points(matrix)).labels_
    starts = tuple(int(place) for place in np.flatnonzero(np.diff(cluster)) + 1)
    return describe_partition(similarity, matrix, starts)


def agreement(one: Segmentation, other: Segmentation) -> float:
    """Return the adjusted Rand index of two segmentations of the same layers: 1 the same, about 0 by chance.

    Source: Hubert & Arabie 1985, through scikit-learn.

    Raises
    ------
    MeasureError
        They are not of the same number of layers.

    Examples
    --------
    >>> halves = segment_agglomerative(np.kron(np.eye(2), np.ones((2, 2))), segments=2)
    >>> agreement(halves, halves)
    1.0
    """
    if sum(one.sizes) != sum(other.sizes):
        raise MeasureError(
            f"segmentations of {sum(one.sizes)} and {sum(other.sizes)} layers cannot be compared: "
            "take two of the same capture"
        )
    return float(adjusted_rand_score(_owners(one), _owners(other)))


def _chain(layers: int) -> csr_array:
    """Each layer is a neighbour of the one before it and the one after it."""
    before = np.arange(layers - 1)
    rows, columns = np.concatenate([before, before + 1]), np.concatenate([before + 1, before])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(layers, layers))


def _points(matrix: Float[np.ndarray, "layer layer"]) -> Float[np.ndarray, "layer axis"]:
    values, vectors = np.linalg.eigh(matrix)
    points: np.ndarray = vectors * np.sqrt(np.clip(values, 0.0, None))
    return points


def _owners(segmentation: Segmentation) -> np.ndarray:
    return np.repeat(np.arange(len(segmentation.sizes)), segmentation.sizes)
