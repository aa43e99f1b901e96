"""The permutation null: the value of a measure if the states of each text are paired with those of another text.

Complete texts are paired, not single tokens. Tokens of one text are similar, and two unrelated layers share this structure;
pairing single tokens across texts would destroy it, and any two layers would look related.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from layerscope.errors import MeasureError
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Baseline
from layerscope.measures.passes.in_memory import InMemoryCapture, error_context, measure_rows
from layerscope.measures.record import Measure

__all__ = ["Texts", "draw_pairing", "null_interval", "permutation_null"]

LEAST_PER_STRATUM = 20
"""Smallest size of a group of texts of similar length, within which texts are paired."""
FEWEST_TEXTS = 8
"""Number of texts below which the interval is too narrow."""
_FEWEST_FOR_RANKS = 39
"""Smallest number of draws whose minimum and maximum enclose 95 %."""


@dataclass(frozen=True)
class Texts:
    """Where the tokens of each text are.

    Attributes
    ----------
    row
        The rows, sorted by text and position.
    start, length
        Start of each text in `row`, and its number of rows.
    has_first
        Whether the text has a row at position 0.
    """

    row: Int[np.ndarray, " token"]
    start: Int[np.ndarray, " text"]
    length: Int[np.ndarray, " text"]
    has_first: Bool[np.ndarray, " text"]

    @classmethod
    def of(cls, sequence_index: Int[np.ndarray, " token"], position: Int[np.ndarray, " token"]) -> "Texts":
        """Find the texts in rows of any order.

        Examples
        --------
        >>> texts = Texts.of(np.array([5, 0, 0, 0, 4, 5]), np.array([6, 0, 1, 2, 0, 5]))
        >>> texts.row.tolist(), texts.length.tolist(), texts.has_first.tolist()
        ([1, 2, 3, 4, 5, 0], [3, 1, 2], [True, True, False])
        """
        row = np.lexsort((position, sequence_index))
        _, start, length = np.unique(sequence_index[row], return_index=True, return_counts=True)
        return cls(row, start, length, position[row][start] == 0)

    def strata(self, rng: np.random.Generator) -> list[Int[np.ndarray, " member"]]:
        """Group the texts that may be paired: with or without a first token, of similar length; ties are broken at random."""
        order = np.lexsort((rng.random(len(self.length)), self.length))
        kinds = (order[self.has_first[order]], order[~self.has_first[order]])
        return [
            part for kind in kinds for part in np.array_split(kind, max(1, len(kind) // LEAST_PER_STRATUM)) if len(part)
        ]


def draw_pairing(texts: Texts, rng: np.random.Generator) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Pair each text with another one of its stratum, and their tokens position by position.

    The last tokens of both are paired. In the longer text, the tokens before the last one that have no partner are left out.
    So is a text that is alone in its stratum.

    Returns
    -------
    tuple
        Rows of the first side, and the row of the second side that each is paired with.

    Examples
    --------
    >>> texts = Texts.of(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 1]))
    >>> draw_pairing(texts, np.random.default_rng(0))
    (array([0, 3, 4, 5]), array([4, 5, 0, 3]))
    """
    partner = np.full(len(texts.start), -1)
    for members in texts.strata(rng):
        if len(members) > 1:
            cycle = rng.permutation(members)
            partner[cycle] = np.roll(cycle, 1)
    pairs = [
        (_ends(texts, text, common), _ends(texts, other, common))
        for text, other in enumerate(partner.tolist())
        if other >= 0
        for common in [int(min(texts.length[text], texts.length[other]))]
    ]
    return np.concatenate([rows for rows, _ in pairs]), np.concatenate([rows for _, rows in pairs])


def _ends(texts: Texts, text: int, count: int) -> Int[np.ndarray, " row"]:
    """Return the first `count` rows of a text, the last of them replaced by the text's last row if there are two or more."""
    place = texts.start[text] + np.arange(count)
    if count > 1:
        place[-1] = texts.start[text] + texts.length[text] - 1
    rows: np.ndarray = texts.row[place]
    return rows


def null_interval(
    draws: Float[np.ndarray, "draw ..."], pairings: int, widening: float
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    r"""Return the 95 % prediction interval for one more draw.

    With 39 pairings or more, the ends are order statistics, of rank $0.025(K+1)$ from either side. With fewer, it is Student's
    prediction interval, mean ± t s √(1 + 1/K). NaN for a single pairing.

    Parameters
    ----------
    draws
        Values of the random pairings.
    pairings
        Number of independent draws.
    widening
        Factor for the distance from the mean. The observed pairing cannot be drawn, so it is farther from the mean of the
        draws than they are.

    Examples
    --------
    >>> low, high = null_interval(np.arange(39.0)[:, None], 39, 1.0)
    >>> low, high
    (array([0.]), array([38.]))
    """
    mean = draws.mean(axis=0)
    if pairings < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if pairings < _FEWEST_FOR_RANKS:
        reach = stdtrit(pairings - 1, 0.975) * draws.std(axis=0, ddof=1) * np.sqrt(1 + 1 / pairings)
        ends = np.stack([mean - reach, mean + reach])
    else:
        ends = np.quantile(draws, [0.025, 0.975], axis=0, method="weibull")
    low, high = mean + widening * (ends - mean)
    return low, high


def permutation_null(
    held: list[InMemoryCapture], measures: list[Measure], context: AnalysisContext, advance: Callable[[int], None]
) -> Iterator[Baseline]:
    """Yield the mean and 95 % interval of each pairwise measure over random pairings of the texts.

    One capture is paired with itself. A symmetric measure then has two draws from each pairing: the matrix and its transpose.

    Parameters
    ----------
    held
        The rows of each capture.
    measures
        Pairwise measures.
    context
        The analysis, with the number of pairings and the seed.
    advance
        Called after each pairing, with 1.

    Raises
    ------
    MeasureError
        No text can be paired with another, or a measure is undefined on the tokens of a pairing.
    """
    first, second = held[0], held[-1]
    texts = Texts.of(first.sequence_index, np.minimum(first.position, second.position))
    paired, widening = _partners(texts)
    rng = np.random.default_rng([context.options.seed, 4])
    draws: dict[str, list[np.ndarray]] = {measure.name: [] for measure in measures}
    tokens: dict[str, list[int]] = {measure.name: [] for measure in measures}
    for _ in range(context.options.null):
        rows, partners = draw_pairing(texts, rng)
        with error_context("in a pairing of the texts by chance (--null)"):
            estimates = measure_rows(first.tokens(rows), second.paired(rows, partners), measures, context)
        for measure in measures:
            values = estimates[measure.name].value
            draws[measure.name] += [values, values.T] if measure.symmetric and len(held) == 1 else [values]
            tokens[measure.name].append(estimates[measure.name].tokens)
        advance(1)
    attributes = _attributes(context.options.null, paired)
    for measure in measures:
        drawn = np.stack(draws[measure.name])
        low, high = (
            np.clip(end, measure.low, measure.high) for end in null_interval(drawn, context.options.null, widening)
        )
        yield Baseline(
            measure.name,
            {"null": drawn.mean(axis=0), "null_low": low, "null_high": high},
            attributes | {"null_tokens": round(float(np.mean(tokens[measure.name])))},
        )


def _partners(texts: Texts) -> tuple[int, float]:
    """Return the number of texts that can be paired, and the factor by which to widen the distance from the mean.

    In a stratum of s texts, the effects of the texts have mean zero over the true pairing and all others together. The mean
    over the others alone is therefore shifted away from the true pairing, by a factor of s/(s-1).
    """
    sizes = np.array([len(members) for members in texts.strata(np.random.default_rng(0)) if len(members) > 1])
    if not len(sizes):
        raise MeasureError(
            "--null pairs each text with another, and there is only one of its kind: capture more texts, or leave --null out"
        )
    return int(sizes.sum()), float(sizes.sum() / (sizes - 1).sum())


def _attributes(pairings: int, texts: int) -> dict[str, int | float | str]:
    """Return the attributes of a permutation null, with a warning if there are too few pairings or texts."""
    attributes: dict[str, int | float | str] = {
        "estimator": "over random pairings of each text with another of similar length, token by token, last with last",
        "null_permutations": pairings,
        "null_texts": texts,
    }
    if pairings < 2:
        attributes["null_warning"] = "one pairing gives no interval: null_low and null_high are NaN"
    elif texts < FEWEST_TEXTS:
        attributes["null_warning"] = (
            f"{texts} texts can be paired in few ways: the 95 % interval by chance is too narrow below {FEWEST_TEXTS} texts"
        )
    return attributes
