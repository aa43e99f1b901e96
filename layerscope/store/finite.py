"""Find NaN, Inf and values outside the storage type in one cheap pass, and locate them only if there are any.

The pass is one `torch.aminmax`: a NaN anywhere makes both ends NaN, and no array of booleans is made.
This module does not depend on files: captures that only feed accumulators check their states here too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float

from layerscope.errors import CaptureError
from layerscope.states import StateRows
from layerscope.store.layout import CaptureLayout

__all__ = ["all_finite", "check_finite", "check_layout", "storable"]


def all_finite(states: Float[torch.Tensor, "..."]) -> bool:
    """Return whether all numbers are finite.

    Examples
    --------
    >>> all_finite(torch.ones(2, 2)), all_finite(torch.tensor([1.0, float("nan")])), all_finite(torch.ones(0, 3))
    (True, False, True)
    """
    if states.numel() == 0:
        return True
    low, high = torch.aminmax(states)
    return math.isfinite(low.item()) and math.isfinite(high.item())


def storable(
    states: Float[torch.Tensor, "... feature"], stored: Float[torch.Tensor, "... feature"]
) -> Bool[torch.Tensor, ""]:
    """Return whether states are finite, also in the storage type, and none vanishes there; on their device, without waiting.

    Parameters
    ----------
    states
        As computed, one at least.
    stored
        The same in the storage type.

    Examples
    --------
    >>> states = torch.tensor([[1e-9, 2e-9]])
    >>> storable(states, states).item(), storable(states, states.half()).item()
    (True, False)
    """
    low, high = torch.aminmax(stored)
    whole = torch.isfinite(low) & torch.isfinite(high)
    return whole & ~_too_small(states, stored.dtype).any() if _loses_small(states.dtype, stored.dtype) else whole


def check_finite(
    rows: StateRows,
    *,
    layer_name: Sequence[str],
    sequence_id: Callable[[int], str],
    store_dtype: torch.dtype | None = None,
) -> None:
    """Refuse states that are not finite, or would not be in the storage type.

    Parameters
    ----------
    rows
        The states, as computed.
    layer_name
        The name of each layer of `rows`.
    sequence_id
        Returns the id of a sequence; called only for the message.
    store_dtype
        The storage type, or None if nothing is stored.

    Raises
    ------
    CaptureError
        A value is not finite. The message names the fault, the layer, sequence and token of the first such row, and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([0])
    >>> rows = StateRows(torch.full((1, 2, 3), 1.2e5), row=one, sequence_index=one, position=one, token_id=one)
    >>> check_finite(rows, layer_name=["embedding", "block.0"], sequence_id=str)
    >>> check_finite(rows, layer_name=["embedding", "block.0"], sequence_id=str, store_dtype=torch.float16)
    Traceback (most recent call last):
        ...
    layerscope.errors.CaptureError: 1.2e+05 does not fit float16 (largest 65504): layer embedding, sequence '0',
    position 0 (token id 0)
    use --store-dtype bfloat16
    """
    if store_dtype is not None:
        _refuse_too_small(rows, layer_name, sequence_id, store_dtype)
    if all_finite(rows.hidden) and (store_dtype is None or _fits(rows.hidden, store_dtype)):
        return
    stored = rows.hidden if store_dtype is None else rows.hidden.to(store_dtype)
    bad = ~torch.isfinite(stored)
    if not bad.any():
        return
    # The first such layer is where the fault began: attention then spreads it to other tokens.
    layer, token, feature = (int(place) for place in bad.transpose(0, 1).nonzero()[0])
    what, remedy = _diagnosis(rows.hidden[token, layer, feature].item(), store_dtype)
    raise CaptureError(
        f"{what}: layer {layer_name[layer]}, sequence {sequence_id(int(rows.sequence_index[token]))!r}, "
        f"position {rows.position[token]} (token id {rows.token_id[token]})\n{remedy}"
    )


def check_layout(
    rows: StateRows, layout: CaptureLayout, *, sequence_id: Callable[[int], str], store_dtype: torch.dtype | None = None
) -> None:
    """Check the states of all variables of a capture like `check_finite`, in the order in which the model computes them.

    Raises
    ------
    CaptureError
        A value is not finite. The message names the state in which the fault began, and its stream.
    """
    for variable, index, name in layout.in_order:
        one = replace(rows, hidden=rows.states(variable)[:, index : index + 1])
        check_finite(one, layer_name=[name], sequence_id=sequence_id, store_dtype=store_dtype)


def _refuse_too_small(
    rows: StateRows, layer_name: Sequence[str], sequence_id: Callable[[int], str], dtype: torch.dtype
) -> None:
    """Refuse states that the storage type rounds to a few digits or to zero: their largest value is below its normal numbers."""
    if not _loses_small(rows.hidden.dtype, dtype) or not rows.hidden.numel():
        return
    small = _too_small(rows.hidden, dtype)
    if small.any():
        token, layer = (int(place) for place in small.nonzero()[0])
        name, least = str(dtype).removeprefix("torch."), torch.finfo(dtype).tiny
        largest = rows.hidden[token, layer].abs().max()
        raise CaptureError(
            f"the largest value {largest:.3g} of a state is below the normal numbers of {name} (from {least:.3g}): "
            f"layer {layer_name[layer]}, sequence {sequence_id(int(rows.sequence_index[token]))!r}, "
            f"position {rows.position[token]}\n"
            "use --store-dtype bfloat16"
        )


def _loses_small(computed: torch.dtype, stored: torch.dtype) -> bool:
    """Return whether the normal numbers of the storage type begin above those of the computation."""
    return torch.finfo(stored).tiny > torch.finfo(computed).tiny


def _too_small(states: Float[torch.Tensor, "... feature"], dtype: torch.dtype) -> Bool[torch.Tensor, "..."]:
    """Return the states whose largest value is below the normal numbers of a type, but not zero."""
    largest = states.abs().amax(dim=-1)
    return (largest < torch.finfo(dtype).tiny) & (largest > 0)


def _fits(states: Float[torch.Tensor, "..."], dtype: torch.dtype) -> bool:
    """Return whether finite states certainly stay finite in `dtype`; values slightly above its maximum may round down to it."""
    if states.numel() == 0 or torch.finfo(dtype).max >= torch.finfo(states.dtype).max:
        return True
    low, high = torch.aminmax(states)
    return max(-low.item(), high.item()) <= torch.finfo(dtype).max


def _diagnosis(value: float, store_dtype: torch.dtype | None) -> tuple[str, str]:
    if math.isnan(value):
        return "NaN in the states", "look at the model's weights, or compute with --dtype float32"
    if math.isinf(value):
        return "Inf in the states", "look at the model's weights, or compute with --dtype float32"
    assert store_dtype is not None
    wider = "bfloat16" if store_dtype == torch.float16 and abs(value) <= torch.finfo(torch.bfloat16).max else "float32"
    name = str(store_dtype).removeprefix("torch.")
    largest = torch.finfo(store_dtype).max
    return f"{value:.3g} does not fit {name} (largest {largest:.5g})", f"use --store-dtype {wider}"
