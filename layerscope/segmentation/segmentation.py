"""Divide the layers of a model into contiguous segments, such as beginning, middle and ending.

`segment` takes a similarity matrix between layers and returns a `Segmentation`.

State 0, the embedding's output, is a state like the others: it counts, and it can be a segment. The sizes sum to the
number of states, blocks + 1. The paper counts the same way: its published matrix of Llama2-7B, with 33 states, gives
2, 29 and 2.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from layerscope.arguments import checked
from layerscope.errors import MeasureError, UsageError
from layerscope.segmentation.partition import best_partition
from layerscope.segmentation.segment_count import choose_segment_count
from layerscope.segmentation.stability import stability

__all__ = [
    "ASYMMETRY",
    "Matrix",
    "Segmentation",
    "describe_partition",
    "layer_numbers",
    "segment",
    "similarity_matrix",
]

Matrix = Annotated[xr.DataArray | np.ndarray, "an array of numbers", lambda array: array.dtype.kind in "fiub"]
"""A matrix over pairs of layers, or replicates of one."""

ASYMMETRY = 1e-6
"""Tolerance for asymmetry by rounding."""


@dataclass(frozen=True)
class Segmentation:
    """A partition of the layers into contiguous segments.

    Attributes
    ----------
    measure
        Name of the similarity; empty for an unnamed matrix.
    boundaries
        The first layer of each segment after the first, as a state number: where only some states were captured
        (``--layers 0,5-10``) a boundary of 5 is state 5, though it is the second stored.
    sizes
        The number of states in each segment; state 0, the embedding, counts. They sum to the number of states.
    labels
        ``beginning``, ``middle``, ``ending`` for three segments; otherwise ``segment_1``, ``segment_2``, ….
    score
        Mean similarity of two different layers of one segment, minus that of two layers of different segments. Layers
        are not paired with themselves. None where one of the two means has no pairs: a single segment, or all
        segments of one layer.
    stability
        For each boundary, the share of the bootstrap replicates whose own best partition into as many segments has
        that boundary (the first, the second, …) at the same layer. None without replicates.
    """

    measure: str
    boundaries: tuple[int, ...]
    sizes: tuple[int, ...]
    labels: tuple[str, ...]
    score: float | None
    stability: tuple[float, ...] | None

    @property
    def starts(self) -> tuple[int, ...]:
        """Index along the axis of the first layer of each segment, the first segment included."""
        return tuple(int(stop) - size for stop, size in zip(np.cumsum(self.sizes), self.sizes, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain lists and numbers, in the order of the contract's JSON.

        Examples
        --------
        >>> segment(np.kron(np.eye(2), np.ones((2, 2))), segments=2).as_dict()
        {'measure': '', 'boundaries': [2], 'sizes': [2, 2], 'labels': ['segment_1', 'segment_2'], 'score': 1.0,
         'stability': None}
        """
        return {
            "measure": self.measure,
            "boundaries": list(self.boundaries),
            "sizes": list(self.sizes),
            "labels": list(self.labels),
            "score": self.score,
            "stability": None if self.stability is None else list(self.stability),
        }

    def to_json(self) -> str:
        """Return `as_dict` as one line of JSON, as ``layerscope segment --json`` prints it."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)


@checked
def segment(
    similarity: Matrix,
    segments: Annotated[int | str, "a whole number from 1 on, or 'auto'"] = 3,
    *,
    replicates: Matrix | None = None,
) -> Segmentation:
    r"""Find the best contiguous partition of the layers.

    Return the partition into `segments` ranges of layers that minimises

    .. math:: \sum_{g} \frac{1}{|g|} \sum_{i, j \in g} (1 - S_{ij})

    exactly, by dynamic programming. It is the least-squares (kernel change-point) criterion with `similarity` as the
    kernel, so a segment is a range of layers that are all similar, not only each to its neighbour. Ties go to
    earlier boundaries, the last boundary first.

    All states count, state 0 (the embedding) included.

    Parameters
    ----------
    similarity
        Symmetric, ``[layer, layer_other]``; 1 means equal. From an analysis, ``result["cosine"]``, or a plain array.
        If it has a ``layer`` coordinate, boundaries are given in its numbers, otherwise from 0.
    segments
        Number of segments, or ``"auto"`` for the rule of `layerscope.segmentation.segment_count`.
    replicates
        Bootstrap replicates of the same matrix, ``[replicate, layer, layer_other]``, from an analysis
        ``result.get("cosine_bootstrap")``; they give the `stability` of the boundaries.

    Raises
    ------
    UsageError
        `segments` is not a number above 0 nor ``"auto"``; the matrix is a distance.
    MeasureError
        The matrix is not square or not symmetric (it compares two captures), contains NaN, or has too few layers.

    Examples
    --------
    Seven states in three groups:

    >>> groups = np.array([0, 0, 1, 1, 1, 1, 2])
    >>> found = segment(np.where(groups[:, None] == groups, 0.9, 0.2))
    >>> found.boundaries, found.sizes, found.labels
    ((2, 6), (2, 4, 1), ('beginning', 'middle', 'ending'))
    """
    matrix = similarity_matrix(similarity)
    count = _count(segments, matrix)
    starts = best_partition(matrix, count)
    places = None if replicates is None else stability(replicates, segments=count, starts=starts, layers=len(matrix))
    return describe_partition(similarity, matrix, starts, places)


def _require_ascending(similarity: xr.DataArray, name: str) -> None:
    for dimension in similarity.dims:
        layers = similarity[dimension].to_numpy() if dimension in similarity.coords else np.arange(2)
        if np.issubdtype(layers.dtype, np.number) and (np.diff(layers) <= 0).any():
            raise MeasureError(f"{name}: {dimension} is not ascending: sort the layers, and keep each once")


def similarity_matrix(similarity: xr.DataArray | np.ndarray) -> Float[np.ndarray, "layer layer"]:
    """Return the matrix as float64 after checking that it is a similarity between the layers of one capture.

    Raises
    ------
    UsageError
        It is a distance: 0 on the diagonal, more elsewhere.
    MeasureError
        It is not square, not symmetric within 1e-6, or holds NaN or Inf.

    Examples
    --------
    >>> similarity_matrix(np.ones((2, 3)))
    Traceback (most recent call last):
        ...
    layerscope.errors.MeasureError: the similarity has shape (2, 3): it compares two captures ...
    """
    matrix = np.asarray(similarity, dtype=np.float64)
    name = _title(similarity)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise MeasureError(
            f"{name} has shape {matrix.shape}: it compares two captures or is not a matrix; "
            "segments are found in the square matrix of one capture's layers"
        )
    if isinstance(similarity, xr.DataArray):
        _require_ascending(similarity, name)
    if not np.isfinite(matrix).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(matrix))[0])
        numbers = layer_numbers(similarity)
        raise MeasureError(
            f"{name} is not finite between layers {numbers[row]} and {numbers[column]}: "
            "no segments can be found; take another measure or leave that layer out"
        )
    asymmetry = float(np.abs(matrix - matrix.T).max())
    if asymmetry > ASYMMETRY:
        raise MeasureError(
            f"{name} is not symmetric (off by {asymmetry:.2g}): it compares two captures; "
            "segments are found in the matrix of one capture's layers"
        )
    # The values decide, not the record: a distance that similarity_of has converted keeps the name of its measure.
    if np.abs(np.diagonal(matrix)).max() < ASYMMETRY < matrix.max():
        raise UsageError(
            f"{name} is a distance (0 on its diagonal), expected a similarity: "
            "layerscope.segmentation.similarity.similarity_of turns one into the other"
        )
    return (matrix + matrix.T) / 2


def describe_partition(
    similarity: xr.DataArray | np.ndarray,
    matrix: Float[np.ndarray, "layer layer"],
    starts: tuple[int, ...],
    places: tuple[float, ...] | None = None,
) -> Segmentation:
    """Put names and numbers on a partition given by `starts`, the places of its boundaries counted from 0."""
    numbers = layer_numbers(similarity)
    sizes = np.diff([0, *starts, len(matrix)])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return Segmentation(
        measure=_name(similarity),
        boundaries=tuple(int(numbers[start]) for start in starts),
        sizes=tuple(int(size) for size in sizes),
        labels=_labels(len(sizes)),
        score=_score(matrix, owner[:, None] == owner),
        stability=places,
    )


def layer_numbers(similarity: xr.DataArray | np.ndarray) -> np.ndarray:
    """Return the state numbers of the rows: the ``layer`` coordinate where there is one, else 0, 1, 2, …."""
    if isinstance(similarity, xr.DataArray) and "layer" in similarity.coords:
        return np.asarray(similarity.coords["layer"].values)
    return np.arange(similarity.shape[0])


def _name(similarity: xr.DataArray | np.ndarray) -> str:
    return str(similarity.name) if isinstance(similarity, xr.DataArray) and similarity.name is not None else ""


def _title(similarity: xr.DataArray | np.ndarray) -> str:
    name = _name(similarity)
    return f"{name!r}" if name else "the similarity"


def _labels(count: int) -> tuple[str, ...]:
    if count == 3:
        return ("beginning", "middle", "ending")
    return tuple(f"segment_{number}" for number in range(1, count + 1))


def _score(matrix: Float[np.ndarray, "layer layer"], together: Bool[np.ndarray, "layer layer"]) -> float | None:
    within = together & ~np.eye(len(matrix), dtype=bool)
    if together.all() or not within.any():
        return None
    return float(matrix[within].mean() - matrix[~together].mean())


def _count(segments: int | str, matrix: Float[np.ndarray, "layer layer"]) -> int:
    """Return the number of segments, validated, or chosen for ``auto``."""
    if segments == "auto":
        return choose_segment_count(matrix)
    if isinstance(segments, str) or segments < 1:
        raise UsageError(f"segments is {segments!r}, expected a whole number from 1 on, or 'auto'")
    if segments > len(matrix):
        raise MeasureError(
            f"{len(matrix)} layers cannot be cut into {segments} segments: use at most {len(matrix)}, "
            "or capture more layers"
        )
    return segments
