"""The massive-activation report: where the very large values are, and what the sequence cosine is without them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from layerscope.measures.accumulators.massive_tokens import LEAST_MAGNITUDE, LEAST_RATIO, Candidates
from layerscope.measures.accumulators.peaks import RANKS, Peaks
from layerscope.measures.estimators.cosines import present_sequences, sequence_cosines, whole_sums
from layerscope.measures.estimators.products import Products
from layerscope.measures.kernels.cosines import WholeSums

__all__ = ["MassiveReport", "report_massive"]

MATTERS = 0.05
"""A change of the sequence cosine above which the report warns."""


@dataclass(frozen=True)
class MassiveReport:
    """The massive activations of an analysis.

    Attributes
    ----------
    table
        Columns of the table over ``rank``: the largest value of each layer and feature, the 16 with the highest ratio to their
        layer's median.
    attributes
        File attributes: number and positions of massive tokens, and the change of the sequence cosine without them.
    """

    table: dict[str, Shaped[np.ndarray, " rank"]]
    attributes: dict[str, int | float | str]


def report_massive(products: Products) -> MassiveReport:
    """Return the report of the rows that the estimator of products has processed."""
    medians = products.massive.medians()
    table = _table(products.peaks[0], medians[: len(products.context.first)])
    found = products.massive.find(medians)
    sample = products.sample
    attributes: dict[str, int | float | str] = {
        "massive_criterion": f"at least {LEAST_MAGNITUDE:g} and {LEAST_RATIO:g} times the layer's median absolute value",
        "massive_median": "of all tokens" if sample.complete else f"of a seeded sample of {sample.kept} tokens",
        "massive_tokens": 0 if found is None else len(found),
        "massive_positions": "" if found is None else _positions(found.position),
    }
    largest, mean = _change(products, found)
    attributes |= {"massive_cosine_sequence_change": largest, "massive_cosine_sequence_change_mean": mean}
    return MassiveReport(table, attributes | {"massive_warning": _warning(attributes, table, products)})


def _table(peaks: Peaks, medians: Float[np.ndarray, " layer"]) -> dict[str, Shaped[np.ndarray, " rank"]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = peaks.magnitude / medians[:, None]
    # A peak whose token was not kept is below its layer's 16th, so below the entries of the table.
    layer, feature = np.nonzero(peaks.kept & (peaks.magnitude > 0))
    order = np.lexsort((feature, layer, -ratio[layer, feature]))[:RANKS]
    at = (layer[order], feature[order])
    return {
        "massive_layer": peaks.axis.layer[at[0]],
        "massive_feature": at[1],
        "massive_token_id": peaks.token_id[at],
        "massive_position": peaks.position[at],
        "massive_value": peaks.value[at],
        "massive_ratio": ratio[at],
    }


def _positions(position: Int[np.ndarray, " token"]) -> str:
    """Return the positions as text, most frequent first."""
    frequent = [str(place) for place, _ in Counter(position.tolist()).most_common(9)]
    return ", ".join(frequent[:8] + ["…"] * (len(frequent) > 8))


def _change(products: Products, found: Candidates | None) -> tuple[float, float]:
    """Return the largest and the mean change of the sequence cosine, over pairs of layers, without the massive tokens.

    NaN between captures of two widths, and if no sequence has other tokens.
    """
    context, sums = products.context, products.sums
    if context.first.width != context.other.width:
        return float("nan"), float("nan")
    if found is None:
        return 0.0, 0.0
    whole = whole_sums(sums)
    slot = np.cumsum(present_sequences(sums))[found.slot] - 1
    parts = (found.dots, found.squares, found.squares_other)
    rest = WholeSums(*(_less(total, part, slot) for total, part in zip(whole, parts, strict=True)))
    # A sequence of massive tokens only has just rounding errors left.
    some = np.logical_and(
        (rest.squares > 1e-10 * whole.squares).all(1), (rest.squares_other > 1e-10 * whole.squares_other).all(1)
    )
    if not some.any():
        return float("nan"), float("nan")
    value, value_rest = (
        _mean_cosine(WholeSums(*(total[keep] for total in sums_)), products)
        for sums_, keep in ((whole, np.full(len(some), True)), (rest, some))
    )
    change = np.abs(value_rest - value)
    # The value of a layer with itself never changes and would only dilute the mean.
    pairs = change.size - (len(change) if sums.alone and len(change) > 1 else 0)
    return float(change.max()), float(change.sum() / pairs)


def _mean_cosine(whole: WholeSums, products: Products) -> Float[np.ndarray, "layer layer_other"]:
    ratio, usable = sequence_cosines(whole, products.context, alone=products.sums.alone)
    mean: np.ndarray = ratio.sum(0) / usable.sum()
    return mean


def _less(
    total: Float[np.ndarray, "sequence *rest"],
    part: Float[torch.Tensor, "token *rest"],
    slot: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "sequence *rest"]:
    return torch.from_numpy(total.copy()).index_add_(0, torch.from_numpy(slot), part.double(), alpha=-1).numpy()


def _warning(
    attributes: dict[str, int | float | str], table: dict[str, Shaped[np.ndarray, " rank"]], products: Products
) -> str:
    change, tokens = float(attributes["massive_cosine_sequence_change"]), int(attributes["massive_tokens"])
    positions = str(attributes["massive_positions"])
    if not tokens or not (change > MATTERS or np.isnan(change)):
        return ""
    layer = int(np.flatnonzero(products.context.first.layer == table["massive_layer"][0])[0])
    what = (
        f"{tokens} token{'s' if tokens > 1 else ''} (position{'s' if ',' in positions else ''} {positions}) carry "
        f"massive activations, up to {table['massive_ratio'][0]:,.0f} times the median of their {products.context.first.word} "
        f"({products.context.first.describe(layer)}, feature {table['massive_feature'][0]})"
    )
    if np.isnan(change):
        return f"{what}. There is no sequence cosine without them."
    return (
        f"{what}. Without them cosine_sequence changes by up to {change:.2f}; cosine_centered and cka lean on the same tokens. "
        "Read them beside cosine and cosine_sequence_without_first, or leave the first tokens out with --exclude-first."
    )
