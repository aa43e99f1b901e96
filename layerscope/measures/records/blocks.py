"""Measures of one block: how much it, its attention or its MLP adds to the residual stream, and in which direction."""

from functools import partial
from math import inf

from layerscope.measures.record import CostClass, Invariance, Kind, Measure
from layerscope.measures.records.wording import CONTRIBUTIONS, FREE, ONE_PASS

__all__ = ["RECORDS"]

_block = partial(
    Measure,
    kind=Kind.PER_BLOCK,
    cost_class=CostClass.CHEAP,
    symmetric=False,
    self_value=None,
    same_width=True,
    invariances=frozenset({Invariance.COMMON_ROTATION}),
    least_tokens=1,
    needs_variation=False,
    on_sample=False,
    passes=ONE_PASS,
    memory="sequences × blocks × 16 bytes",
    cost="features a token",
    bootstrap=FREE,
    reference="the field's default",
    cites=(),
    estimator=CONTRIBUTIONS,
)


def _ratio(name: str, what: str, title: str, symbol: str, text: str, streams: tuple[str, ...]) -> Measure:
    return _block(
        name=name,
        what=what,
        long_name=f"size of {title}",
        definition=f"mean over tokens of the norm of {text} over the norm of the state that enters the block: "
        + rf"$\frac1n\sum_t|{symbol}_t|/|x_t|$",
        low=0.0,
        high=inf,
        streams=streams,
    )


def _cosine(name: str, what: str, title: str, symbol: str, text: str, streams: tuple[str, ...]) -> Measure:
    return _block(
        name=name,
        what=what,
        long_name=f"direction of {title}",
        definition=f"mean over tokens of the cosine of {text} with the state that enters the block: "
        + rf"$\frac1n\sum_t\frac{{{symbol}_t\cdot x_t}}{{|{symbol}_t||x_t|}}$",
        low=-1.0,
        high=1.0,
        streams=streams,
    )


_ATTN = ("the attention's contribution", "a", "the contribution of the attention", ("attn",))
_MLP = ("the MLP's contribution", "m", "the contribution of the MLP", ("mlp",))
_UPDATE = ("the block's update", "u", "the difference of the states after and before the block", ())

RECORDS = (
    _ratio("attn_ratio", "attention norm / state norm", *_ATTN),
    _ratio("mlp_ratio", "MLP norm / state norm", *_MLP),
    _ratio("update_ratio", "update norm / state norm", *_UPDATE),
    _cosine("attn_cosine", "cosine attention, state", *_ATTN),
    _cosine("mlp_cosine", "cosine MLP, state", *_MLP),
    _cosine("update_cosine", "cosine update, state", *_UPDATE),
)
