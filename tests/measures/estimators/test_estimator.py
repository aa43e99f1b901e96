"""Any chunking, any order and any tree of merges gives the same answer, in every family and every pass."""

from functools import cache

import numpy as np
import pytest
import torch
import xarray
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from layerscope.measures import context as context_module
from layerscope.measures.analysis import analyze, finish
from layerscope.measures.catalogue import MEASURES, find_measures
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.passes.engine import Engine
from tests.measures.captures import capture, state_rows, walk

# An example of sixty tokens says enough as it is, and shrinking it takes minutes.
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
LENGTHS = [12, 1, 18, 13, 20]
TOKENS, LAYERS, WIDTH = sum(LENGTHS), 3, 4


def _context(bootstrap: int, second: bool, memory: int = 10**9) -> AnalysisContext:
    first = Axis(np.arange(LAYERS), tuple("abc"), WIDTH)
    return AnalysisContext(
        first,
        first if second else None,
        torch.float64,
        np.arange(TOKENS),
        len(LENGTHS),
        AnalysisOptions(bootstrap=bootstrap, memory=memory, seed=5),
    )


@st.composite
def splits(draw: st.DrawFn) -> list[list[np.ndarray]]:
    """Deal the tokens, shuffled, to workers, each of which gets its own in chunks."""
    order = np.array(draw(st.permutations(range(TOKENS))))
    cuts = draw(st.lists(st.integers(0, TOKENS), max_size=7))
    chunks = np.split(order, sorted(cuts))
    workers = draw(st.integers(1, 3))
    return [chunks[worker::workers] for worker in range(workers)]


def _streamed(
    states: np.ndarray, context: AnalysisContext, dealt: list[list[np.ndarray]], names: list[str] | None
) -> xarray.Dataset:
    """Run the engine with each worker's rows in an engine of its own pass part, merged at the end of each pass."""
    engine = Engine(context, find_measures(names))
    more = True
    while more:
        for chunks in dealt:
            part = engine.empty_like()
            for chosen in chunks:
                rows = state_rows(states, chosen, LENGTHS)
                part.update(rows, rows if context.second is not None else None)
            engine.merge(part)
        more = engine.end_pass()
    return finish(engine, [{}])


@cache
def _in_one(seed: int, second: bool) -> tuple[np.ndarray, xarray.Dataset]:
    """Return states with a massive token, and their analysis in one chunk."""
    states = walk(TOKENS, LAYERS, WIDTH, seed=seed)
    states[6, 1, 2] = 4e3
    whole = capture(states, LENGTHS)
    whole["layer_name"] = ("layer", list("abc"))
    return states, analyze(whole, whole if second else None, measures=MEASURES, bootstrap=4, seed=5)


@pytest.mark.parametrize("second", [False, True], ids=["alone", "two captures"])
@settings(max_examples=5, deadline=None, phases=NO_SHRINKING)
@given(splits(), st.integers(0, 1))
def test_all_measures_in_any_chunks_and_merges(second: bool, dealt: list[list[np.ndarray]], seed: int):
    states, expected = _in_one(seed, second)
    found = _streamed(states, _context(4, second), dealt, list(MEASURES))
    # Not 1e-9: where the first chunk is the massive token alone, it is the reference of the replicates' variances.
    xarray.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
    assert found.attrs["massive_tokens"] == 1
    assert found.attrs["massive_cosine_sequence_change"] == pytest.approx(
        expected.attrs["massive_cosine_sequence_change"], abs=1e-9
    )


@settings(max_examples=10, deadline=None, phases=NO_SHRINKING)
@given(splits())
def test_measures_that_need_several_passes(dealt: list[list[np.ndarray]]):
    """With thresholds set low: minibatches a pass each, means first, spectra layer by layer, sums of products of features."""
    with pytest.MonkeyPatch.context() as patch:
        few_rows(patch)
        states = walk(TOKENS, LAYERS, WIDTH, seed=1)
        names = ["cosine_centered", "cka", "variance", "participation_ratio", "effective_rank"]
        found = _streamed(states, _context(4, False, memory=1000), dealt, names)
        in_order = [[np.arange(TOKENS)]]
        expected = _streamed(states, _context(4, False, memory=10**9), in_order, names)
    assert found["cka"].attrs["batches"] == 6
    xarray.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None, phases=NO_SHRINKING)
@given(splits())
def test_sums_of_products_between_layers(dealt: list[list[np.ndarray]]):
    with pytest.MonkeyPatch.context() as patch:
        few_rows(patch)
        states = walk(TOKENS, LAYERS, WIDTH, seed=1)
        names = ["cka_biased", "procrustes", "effective_rank"]
        found = _streamed(states, _context(0, False), dealt, names)
    expected = analyze(capture(states, LENGTHS), measures=names)
    assert "sample" not in found["procrustes"].attrs
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


def few_rows(patch: pytest.MonkeyPatch, exact: int = 8) -> None:
    """Set the thresholds between all at once and streaming to a few tokens."""
    from layerscope.measures.accumulators import cross_covariance, row_sample
    from layerscope.measures.estimators import debiased_cka

    for module in (context_module, debiased_cka, row_sample):
        patch.setattr(module, "EXACT_TOKENS", exact)
    patch.setattr(debiased_cka, "MINIBATCH", 10)
    patch.setattr(cross_covariance, "_AT_ONCE", 7)
