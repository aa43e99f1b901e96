"""The records are complete and consistent, and listing them costs nothing."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

from layerscope.errors import UsageError
from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES, find_measures
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.record import Invariance, Kind, Measure
from tests.measures.oracles import ORACLES

by_name = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())


@by_name
def test_record_is_complete(measure: Measure):
    texts = (measure.long_name, measure.definition, measure.passes, measure.memory, measure.cost, measure.bootstrap)
    assert all(texts)
    assert 1 <= len(measure.what.split()) <= 5
    assert len(measure.what) <= 27  # so that `layerscope list measures` has one line a measure on 80 columns
    assert set(measure.companions) <= MEASURES.keys()
    assert measure.reference
    assert bool(measure.cites) == (measure.reference != "the field's default")
    assert all(re.fullmatch(r"[a-z]+\d{4}[a-z]+", key) for key in measure.cites)
    assert measure.name in ORACLES
    assert measure.least_tokens >= 1
    assert (measure.self_value is not None) == (measure.kind is Kind.PAIRWISE)
    assert measure.range.startswith("(-inf" if measure.low == float("-inf") else "[")


def _estimator(measure: Measure) -> type[Estimator]:
    module, name = measure.estimator.split(":")
    estimator: type[Estimator] = getattr(import_module(module), name)
    return estimator


@by_name
def test_the_estimator_has_a_kernel_for_the_measure(measure: Measure):
    assert issubclass(_estimator(measure), Estimator)
    assert measure.name in _estimator(measure).kernels


def test_every_kernel_belongs_to_a_measure():
    kernels = [name for estimator in set(map(_estimator, MEASURES.values())) for name in estimator.kernels]
    assert sorted(kernels) == sorted(MEASURES)


@by_name
def test_invariances_imply_each_other(measure: Measure):
    if Invariance.ROTATION in measure.invariances:
        assert {Invariance.COMMON_ROTATION, Invariance.PERMUTATION} <= measure.invariances
    if Invariance.TOKEN_SCALE in measure.invariances or Invariance.INVERTIBLE_LINEAR in measure.invariances:
        assert Invariance.SCALE in measure.invariances


def test_defaults_are_those_of_the_contract():
    assert DEFAULT_MEASURES == ("cosine", "cosine_sequence", "cosine_centered", "cka", "variance", "norm", "max_abs")
    assert [measure.name for measure in find_measures()] == list(DEFAULT_MEASURES)
    assert [measure.name for measure in find_measures(["norm", "cka", "norm"])] == ["norm", "cka"]


def test_unknown_measure():
    with pytest.raises(UsageError, match="unknown measure 'ckaa': did you mean 'cka'") as refusal:
        find_measures(["ckaa"])
    assert refusal.value.exit_code == 2


def test_listing_loads_no_array_library():
    code = (
        "import sys, layerscope.measures; print([m for m in ('numpy', 'torch', 'xarray', 'h5py') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("empty", [[], {}, (), set()])
def test_an_empty_choice_of_measures_is_refused(empty: object):
    with pytest.raises(UsageError, match="measures is empty: name at least one measure"):
        find_measures(empty)
