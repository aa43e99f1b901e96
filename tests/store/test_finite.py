import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.errors import CaptureError
from layerscope.states import StateRows
from layerscope.store.finite import all_finite, check_finite

NAMES = ["embedding", "block.0", "block.1"]


def rows(hidden: torch.Tensor) -> StateRows:
    count = np.arange(len(hidden))
    return StateRows(hidden, row=count + 100, sequence_index=count // 4, position=count % 4, token_id=count + 1000)


def check(hidden: torch.Tensor, store_dtype: torch.dtype | None = None) -> None:
    check_finite(
        rows(hidden), layer_name=NAMES, sequence_id=lambda sequence: f"text {sequence}", store_dtype=store_dtype
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("value", "what"), [(torch.nan, "NaN"), (torch.inf, "Inf"), (-torch.inf, "Inf")])
def test_what_is_not_finite_is_named_in_the_first_layer_that_has_it(
    dtype: torch.dtype, value: float, what: str
) -> None:
    hidden = torch.zeros(9, 3, 40, dtype=dtype)
    hidden[2, 2, 0] = hidden[7, 1, 0] = torch.nan  # an earlier token of a later layer; a later token
    hidden[6, 1, 17] = value
    expected = (
        f"{what} in the states: layer block.0, sequence 'text 1', position 2 (token id 1006)\nlook at the model's"
    )
    for stored in (None, torch.bfloat16, torch.float32):
        with pytest.raises(CaptureError, match=re.escape(expected)):
            check(hidden, stored)


@pytest.mark.parametrize(
    ("value", "compute", "stored", "message"),
    [
        (1.2e5, torch.float32, "float16", "1.2e+05 does not fit float16 (largest 65504)|use --store-dtype bfloat16"),
        (
            -65520.0,
            torch.float32,
            "float16",
            "-6.55e+04 does not fit float16 (largest 65504)|use --store-dtype bfloat16",
        ),
        (1.2e5, torch.bfloat16, "float16", "1.2e+05 does not fit float16 (largest 65504)|use --store-dtype bfloat16"),
        (
            3.4e38,
            torch.float32,
            "bfloat16",
            "3.4e+38 does not fit bfloat16 (largest 3.3895e+38)|use --store-dtype float32",
        ),
        (3.4e38, torch.float32, "float16", "3.4e+38 does not fit float16 (largest 65504)|use --store-dtype float32"),
    ],
)
def test_what_does_not_fit_is_named(value: float, compute: torch.dtype, stored: str, message: str) -> None:
    hidden = torch.ones(5, 3, 2, dtype=compute)
    hidden[3, 1, 1] = value
    what, remedy = message.split("|")
    place = "layer block.0, sequence 'text 0', position 3 (token id 1003)"
    check(hidden)
    with pytest.raises(CaptureError, match=f"^{re.escape(f'{what}: {place}')}\n{re.escape(remedy)}$"):
        check(hidden, getattr(torch, stored))


@settings(max_examples=100, deadline=None)
@given(
    value=st.floats(width=32) | st.floats(65500, 65530, width=32) | st.floats(float(np.float32(3.38e38)), width=32),
    stored=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_it_is_refused_just_when_the_stored_number_is_not_finite(value: float, stored: torch.dtype) -> None:
    hidden = torch.ones(2, 3, 2)  # the one beside it keeps a state above the type's smallest numbers
    hidden[1, 2, 0] = value
    if np.isfinite(hidden.to(stored).double().numpy()).all():
        check(hidden, stored)
    else:
        with pytest.raises(CaptureError, match=r"layer block\.1, sequence .text 0., position 1"):
            check(hidden, stored)


def test_no_rows_are_fine() -> None:
    check(torch.zeros(0, 3, 2), torch.float16)
    assert all_finite(torch.zeros(0))


def test_states_below_the_normal_numbers_of_the_storage_type_are_refused():
    hidden = torch.ones(4, 3, 5)
    hidden[2, 1] = 1e-5
    check(hidden)
    check(hidden, torch.bfloat16)
    hidden[2, 1, 3] = 1e-3  # a value that fits keeps the digits of the state
    check(hidden, torch.float16)
    hidden[2, 1, 3] = 0
    with pytest.raises(
        CaptureError, match=r"largest value 1e-05 of a state is below .* float16 .*: layer block\.0, sequence"
    ):
        check(hidden, torch.float16)
    hidden[2, 1] = 0
    check(hidden, torch.float16)
