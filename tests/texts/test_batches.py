from itertools import zip_longest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layerscope.errors import UsageError
from layerscope.texts.batches import pad_batch, plan_batches, position_ids

lengths_arrays = hnp.arrays(st.sampled_from([np.int32, np.int64]), st.integers(0, 40), elements=st.integers(1, 30))
token_arrays = st.lists(
    hnp.arrays(np.int32, st.integers(1, 7), elements=st.integers(0, 2**31 - 1)), min_size=1, max_size=6
)


@given(lengths=lengths_arrays, batch_tokens=st.integers(1, 80), window=st.integers(1, 50))
def test_plan(lengths, batch_tokens, window):
    batches = list(plan_batches(lengths, batch_tokens, window))
    indices = [int(i) for batch in batches for i in batch]
    # each index once
    assert sorted(indices) == list(range(len(lengths)))
    # window after window, longest first, equals in input order
    assert indices == sorted(range(len(lengths)), key=lambda i: (i // window, -lengths[i], i))
    for batch, following in zip_longest(batches, batches[1:]):
        longest = lengths[batch].max()
        # the budget holds, but for a single sequence beyond it
        assert len(batch) * longest <= batch_tokens or len(batch) == 1
        # no batch crosses a window, and none could have taken one more
        assert len(set(batch // window)) == 1
        if following is not None and following[0] // window == batch[0] // window:
            assert (len(batch) + 1) * longest > batch_tokens


@given(lengths=lengths_arrays, batch_tokens=st.integers(1, 80), border=st.integers(1, 30))
def test_groups_share_no_batch(lengths, batch_tokens, border):
    groups = (lengths > border).astype(int)
    batches = list(plan_batches(lengths, batch_tokens, 50, groups))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(set(groups[batch].tolist())) == 1 for batch in batches)
    assert all(len(batch) * lengths[batch].max() <= batch_tokens or len(batch) == 1 for batch in batches)


@given(lengths=lengths_arrays, batch_tokens=st.integers(1, 80))
def test_plan_depends_on_its_arguments_alone(lengths, batch_tokens):
    before = lengths.copy()
    first, second = (list(plan_batches(lengths, batch_tokens, 7)) for _ in range(2))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]
    np.testing.assert_array_equal(lengths, before)


@given(head=lengths_arrays, tail=lengths_arrays)
def test_a_window_does_not_see_what_follows_it(head, tail):
    head = np.resize(head if len(head) else np.array([3]), 10)
    alone = [batch.tolist() for batch in plan_batches(head, 40, 10)]
    followed = [batch.tolist() for batch in plan_batches(np.concatenate([head, tail]), 40, 10)]
    assert followed[: len(alone)] == alone


def test_an_overlong_sequence_runs_alone():
    assert [b.tolist() for b in plan_batches(np.array([2, 50, 2, 2]), 4)] == [[1], [0, 2], [3]]


def test_default_window():
    lengths = np.ones(5000, dtype=np.int64)
    lengths[-1] = 9
    batches = list(plan_batches(lengths, 10_000_000))
    assert [len(batch) for batch in batches] == [4096, 904]
    assert batches[1][0] == 4999


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"batch_tokens": 0}, "batch_tokens 0: must be 1"), ({"batch_tokens": 1, "window": 0}, "window 0: must be 1")],
)
def test_impossible_budgets_are_refused_at_once(options, expected):
    with pytest.raises(UsageError, match=expected):
        plan_batches(np.array([1]), **options)


@given(sequences=token_arrays, pad_id=st.integers(0, 9), side=st.sampled_from(["left", "right"]))
def test_padding(sequences, pad_id, side):
    input_ids, mask = pad_batch(sequences, pad_id, side)
    assert input_ids.dtype == mask.dtype == torch.int64
    assert input_ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    for row, sequence in enumerate(sequences):
        padding = [pad_id] * (input_ids.shape[1] - len(sequence))
        ones, zeros = [1] * len(sequence), [0] * len(padding)
        ids = sequence.tolist()
        assert input_ids[row].tolist() == (ids + padding if side == "right" else padding + ids)
        assert mask[row].tolist() == (ones + zeros if side == "right" else zeros + ones)


@given(sequences=token_arrays, side=st.sampled_from(["left", "right"]))
def test_positions(sequences, side):
    _, mask = pad_batch(sequences, 0, side)
    positions = position_ids(mask)
    assert positions.dtype == torch.int64
    for row, sequence in enumerate(sequences):
        assert positions[row][mask[row].bool()].tolist() == list(range(len(sequence)))
        assert positions[row][~mask[row].bool()].eq(0).all()
