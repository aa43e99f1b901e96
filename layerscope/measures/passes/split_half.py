"""Split-half reliability of a measure: between halves of the features, and between halves of the sequences.

The first is in the units of the measure, stored as ``<name>_ceiling``; it is not an upper bound. The second is a correlation
between -1 and 1.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

from layerscope.errors import MeasureError
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Baseline
from layerscope.measures.passes.in_memory import InMemoryCapture, error_context, measure_rows
from layerscope.measures.record import Measure

__all__ = [
    "joint_ceiling",
    "noise_ceiling",
    "pattern_correlation",
    "require_halves",
    "split_half",
    "splittable",
]

_FEWEST_SEQUENCES = 4


def splittable(measure: Measure) -> bool:
    """Return whether a measure can compare one half of a layer's features with the other half.

    A measure that compares corresponding features cannot: the halves have no common feature.
    """
    return not measure.same_width


def require_halves(context: AnalysisContext) -> None:
    """Raise if there are too few sequences or features to split; called before the analysis is computed.

    Raises
    ------
    MeasureError
        There are fewer than four sequences or fewer than two features.
    """
    if context.sequences < _FEWEST_SEQUENCES:
        raise MeasureError(
            f"split-half reliability needs at least {_FEWEST_SEQUENCES} sequences, got {context.sequences}: capture more texts, "
            "or leave --ceiling out"
        )
    width = min(context.first.width, context.other.width)
    if width < 2:
        raise MeasureError(f"halves of the features need at least 2 features, got {width}: leave --ceiling out")


def noise_ceiling(
    held: list[InMemoryCapture], measures: list[Measure], context: AnalysisContext, advance: Callable[[int], None]
) -> Iterator[Baseline]:
    """Yield the split-half reliability over features of each `splittable` measure, for all pairs of layers.

    The reliability of one layer is the mean, over random splits, of the value between two halves of its features on the same
    tokens. That of a pair of layers is the `joint_ceiling` of both.

    Parameters
    ----------
    held
        The rows of each capture.
    measures
        Pairwise measures.
    context
        The analysis, with the number of splits and the seed.
    advance
        Called after each split, with 1.
    """
    able = [measure for measure in measures if splittable(measure)]
    if not able:
        return
    rng = np.random.default_rng([context.options.seed, 5])
    own = {measure.name: [np.zeros((context.options.ceiling, len(side.layer))) for side in held] for measure in able}
    tokens: dict[str, int] = {}
    for split in range(context.options.ceiling):
        for number, side in enumerate(held):
            halves = np.array_split(rng.permutation(side.width), 2)
            for index in range(len(side.layer)):
                one, two = (side.features(index, np.sort(half)) for half in halves)
                with error_context("between halves of the features (--ceiling)"):
                    estimates = measure_rows(one, two, able, context)
                for measure in able:
                    own[measure.name][number][split, index] = estimates[measure.name].value.item()
                    tokens[measure.name] = estimates[measure.name].tokens
        advance(1)
    for measure in able:
        sides = [values.mean(0) for values in own[measure.name]]
        attributes: dict[str, int | float | str] = {
            "estimator": "random halves of each layer's features; of two layers the "
            + ("arithmetic mean" if measure.is_distance else "geometric mean"),
            "ceiling_splits": context.options.ceiling,
            "ceiling_tokens": tokens[measure.name],
        }
        yield Baseline(measure.name, {"ceiling": joint_ceiling(sides[0], sides[-1], measure)}, attributes)


def joint_ceiling(
    own: Float[np.ndarray, " layer"], own_other: Float[np.ndarray, " layer_other"], measure: Measure
) -> Float[np.ndarray, "layer layer_other"]:
    """Combine the reliabilities of two layers: geometric mean of similarities, arithmetic mean of distances.

    The geometric mean is the limit that unreliability sets to a correlation (Spearman 1904). There is no such law for distances,
    and the arithmetic mean keeps the units. NaN if a layer's halves have a similarity of 0 or less.
    """
    if measure.is_distance:
        joint: np.ndarray = np.add.outer(own, own_other) / 2
    else:
        joint = np.sqrt(np.multiply.outer(*(np.where(values > 0, values, np.nan) for values in (own, own_other))))
    return joint


def split_half(
    held: list[InMemoryCapture], measures: list[Measure], context: AnalysisContext, advance: Callable[[int], None]
) -> Iterator[Baseline]:
    """Yield the split-half reliability over sequences: the correlation of a measure's matrices from two random halves.

    It is Pearson's correlation over pairs of different layers (over all pairs between two captures), averaged over splits and
    corrected to all sequences by 2r/(1+r) (Spearman 1910, Brown 1910). A measure whose correlation is undefined, as with two
    layers, is left out.

    Parameters
    ----------
    held, measures, context, advance
        See `noise_ceiling`.
    """
    rng = np.random.default_rng([context.options.seed, 6])
    correlations: dict[str, list[float]] = {measure.name: [] for measure in measures}
    for _ in range(context.options.ceiling):
        with error_context("in a half of the sequences (--ceiling)"):
            halves = [
                measure_rows(*_sides([side.tokens(half) for side in held]), measures, context)
                for half in _halves_of(held[0].sequence_index, rng)
            ]
        for measure in measures:
            one, two = (half[measure.name].value for half in halves)
            correlations[measure.name].append(pattern_correlation(one, two, alone=len(held) == 1))
        advance(1)
    for name, values in correlations.items():
        r = float(np.mean(values))
        if np.isfinite(r):
            reliability = 2 * r / (1 + r) if r > 0 else r
            yield Baseline(name, {}, {"split_half": reliability, "split_half_splits": context.options.ceiling})


def pattern_correlation(
    one: Float[np.ndarray, "layer layer_other"], two: Float[np.ndarray, "layer layer_other"], *, alone: bool
) -> float:
    """Correlate two matrices over pairs of different layers, or over all pairs between two captures; NaN if one is constant.

    Examples
    --------
    >>> far = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> round(pattern_correlation(1 - far / 4, 5 - far, alone=True), 12)
    1.0
    """
    pairs = ~np.eye(len(one), dtype=bool) if alone else np.ones(one.shape, bool)
    deviation = [matrix[pairs] - matrix[pairs].mean() for matrix in (one, two)]
    size = np.sqrt(np.prod([part @ part for part in deviation]))
    return float(deviation[0] @ deviation[1] / size) if size > 0 else np.nan


def _halves_of(sequence_index: Int[np.ndarray, " token"], rng: np.random.Generator) -> list[Int[np.ndarray, " half"]]:
    """Split the sequences into two random halves; return the tokens of each."""
    present, slot = np.unique(sequence_index, return_inverse=True)
    half = rng.permutation(np.arange(len(present)) % 2)
    return [np.flatnonzero(half[slot] == which) for which in range(2)]


def _sides(held: list[InMemoryCapture]) -> tuple[InMemoryCapture, InMemoryCapture | None]:
    return held[0], held[1] if len(held) > 1 else None
