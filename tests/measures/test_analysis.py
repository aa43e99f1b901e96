"""The front door: what an analysis holds, and what it refuses."""

import json
from inspect import signature

import numpy as np
import pytest

from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import DEFAULT_MEASURES
from layerscope.measures.model_analysis import analyze_model
from layerscope.measures.options import AnalysisOptions, parse_memory
from layerscope.measures.streaming import Statistics
from tests.measures.captures import capture, walk

LENGTHS = [7, 1, 12, 20]


def test_default_measures_are_labelled_and_say_how_they_were_made():
    result = analyze(capture(walk(40, 4, 8), LENGTHS, attrs={"model": "tiny"}), seed=3)
    assert set(DEFAULT_MEASURES) <= set(result.data_vars)
    assert result["cosine"].dims == ("layer", "layer_other")
    assert result["norm"].dims == ("layer",)
    assert result["layer_name"].values.tolist() == ["embedding", "block.0", "block.1", "block.2"]
    for name in DEFAULT_MEASURES:
        attrs = result[name].attrs
        assert {"long_name", "range", "estimator", "reference", "tokens", "excluded_first"} <= set(attrs)
        assert attrs["tokens"] == 40
    assert result["cka"].attrs["batch_size"] == 40
    assert result["cka"].attrs["batches"] == 1
    assert result.attrs["model"] == "tiny"
    assert json.loads(result.attrs["provenance"])["analysis"]["seed"] == 3


def test_simple_measures_are_what_numpy_says():
    states = walk(40, 4, 8)
    result = analyze(capture(states, LENGTHS))
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    np.testing.assert_allclose(result["cosine"], np.einsum("tlf,tmf->lm", unit, unit) / 40, rtol=1e-12)
    np.testing.assert_allclose(result["variance"], states.var(0).mean(-1), rtol=1e-12)
    np.testing.assert_allclose(result["norm"], np.linalg.norm(states, axis=-1).mean(0), rtol=1e-12)
    np.testing.assert_array_equal(result["max_abs"], np.abs(states).max((0, 2)))
    flat = []
    for part in np.split(states, np.cumsum(LENGTHS)[:-1]):
        rows = part.transpose(1, 0, 2).reshape(4, -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        flat.append(rows @ rows.T)
    np.testing.assert_allclose(result["cosine_sequence"], np.mean(flat, 0), rtol=1e-12)


def test_exclude_first_leaves_positions_out():
    states = walk(40, 3, 8)
    result = analyze(capture(states, LENGTHS), measures=["norm"], exclude_first=2)
    kept = np.concatenate([np.arange(length) for length in LENGTHS]) >= 2
    np.testing.assert_allclose(result["norm"], np.linalg.norm(states[kept], axis=-1).mean(0), rtol=1e-12)
    assert result["norm"].attrs["excluded_first"] == 2
    assert result["norm"].attrs["tokens"] == kept.sum()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"measures": ["cosin"]}, UsageError, "unknown measure 'cosin': did you mean 'cosine'"),
        ({"measures": "cosin"}, UsageError, "unknown measure 'cosin': did you mean 'cosine'"),
        ({"bootstrap": -1}, UsageError, "bootstrap -1: must be 0 or more"),
        ({"memory": "lots"}, UsageError, "--memory is 'lots', expected a size like 4GB"),
        ({"exclude_first": 40}, MeasureError, "none of its 40 tokens is left after leaving out 40 at each start"),
        ({"exclude_first": 17}, MeasureError, "cka needs at least 4 tokens, got 3 after leaving out 17 at each start"),
    ],
)
def test_refuses(options, error, text):
    with pytest.raises(error, match=text):
        analyze(capture(walk(40, 3, 8), LENGTHS), **options)


def test_memory_is_read_in_decimal_and_binary_units():
    assert [parse_memory(text) for text in ("4GB", "500 mb", "2GiB", "17")] == [4 * 10**9, 5 * 10**8, 2**31, 17]


def test_the_defaults_of_the_functions_are_those_of_the_options():
    defaults = AnalysisOptions.from_arguments()
    assert defaults == AnalysisOptions()
    for function in (analyze, analyze_model, Statistics.__init__):
        given = {
            name: parameter.default
            for name, parameter in signature(function).parameters.items()
            if hasattr(defaults, name)
        }
        assert len(given) >= 5
        assert AnalysisOptions.from_arguments(**given) == defaults
