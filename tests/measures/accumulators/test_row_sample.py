"""The seeded sample depends on the seed and the rows, and on nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.measures.accumulators import row_sample
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.kernels.priority import row_priority
from layerscope.measures.options import AnalysisOptions
from layerscope.states import StateRows

TOKENS = 60


def _context(known: bool, seed: int, memory: int = 10**9) -> AnalysisContext:
    rows = np.arange(TOKENS) * 3 if known else None
    return AnalysisContext(
        Axis(np.arange(2), ("embedding", "block.0"), 1),
        None,
        torch.float64,
        rows,
        options=AnalysisOptions(memory=memory, seed=seed),
    )


def _rows(chosen: np.ndarray) -> StateRows:
    row = chosen * 3
    hidden = torch.from_numpy(row.astype(float))[:, None, None].expand(-1, 2, 1)
    return StateRows(hidden, row, row // 10, row % 10, row)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(TOKENS)), st.lists(st.integers(0, TOKENS), max_size=5), st.booleans(), st.integers(0, 5))
def test_any_order_chunks_and_merges(order: list[int], cuts: list[int], known: bool, seed: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_sample, "EXACT_TOKENS", 20)
        sample, part = RowSample(_context(known, seed)), RowSample(_context(known, seed))
    for index, chosen in enumerate(np.split(np.array(order), sorted(cuts))):
        (sample if index % 2 else part).update(_rows(chosen), None)
    sample.merge(part)
    every = np.arange(TOKENS) * 3
    expected = np.sort(every[np.argsort(row_priority(every, seed))[:20]])
    np.testing.assert_array_equal(sample.row, expected)
    np.testing.assert_array_equal(sample.sequence_index, expected // 10)
    np.testing.assert_array_equal(sample.hidden()[:, 1, 0], expected)
    assert sample.seen == TOKENS
    assert not sample.complete


def test_all_rows_are_held_where_they_fit():
    sample = RowSample(_context(True, 0))
    sample.update(_rows(np.arange(TOKENS)), None)
    assert sample.complete
    assert sample.kept == TOKENS
    np.testing.assert_array_equal(sample.row, np.arange(TOKENS) * 3)


def test_priorities_are_evenly_spread_whatever_the_seed():
    for seed in (0, 1, 2**40):
        bits = row_priority(np.arange(20_000), seed)
        counts = np.histogram(bits.astype(np.float64) / 2**64, bins=20, range=(0, 1))[0]
        assert abs(counts - 1000).max() < 150
        assert len(np.unique(bits)) == 20_000
    assert (
        np.corrcoef(row_priority(np.arange(999), 0).astype(float), row_priority(np.arange(999), 1).astype(float))[0, 1]
        < 0.1
    )
