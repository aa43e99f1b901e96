"""The front door in one word, and the same as methods of a Dataset: thin, and equal to the analysis they are taken from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

import layerscope as ls
from layerscope.errors import FileError, UsageError
from layerscope.segmentation.similarity import segment_measure
from tests.measures.captures import capture, walk
from tests.store.captures import layout, write_capture

LENGTHS = [9, 6, 14, 8]
TOKENS = sum(LENGTHS)
ONE, TWO = capture(walk(TOKENS, 4, 5, seed=1), LENGTHS), capture(walk(TOKENS, 3, 7, seed=2), LENGTHS)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hidden = torch.from_numpy(walk(TOKENS, 3, 5, dtype=np.float32))
    return write_capture(tmp_path_factory.mktemp("captures") / "run.h5", hidden, layout(), lengths=LENGTHS)


def test_similarity_is_the_matrix_with_all_that_is_said_of_it():
    found = ls.similarity(ONE, "cosine_sequence", bootstrap=5, exclude_first=1, seed=3)
    whole = ls.analyze(ONE, measures=["cosine_sequence"], bootstrap=5, exclude_first=1, seed=3)
    assert found.dims == ("layer", "layer_other")
    xarray.testing.assert_equal(found.variable, whole["cosine_sequence"].variable)
    assert found.attrs == whole["cosine_sequence"].attrs
    for name in ("cosine_sequence_low", "cosine_sequence_high", "cosine_sequence_without_first", "layer_name"):
        assert found.coords[name].variable.identical(whole[name].variable)
    assert set(ls.similarity(ONE, "cka").coords) == {"layer", "layer_other", "layer_name", "layer_name_other"}


def test_statistics_are_those_of_single_layers_only():
    found = ls.statistics(ONE, bootstrap=4)
    whole = ls.analyze(ONE, bootstrap=4)
    bounded = [f"{name}{bound}" for name in ("variance", "norm") for bound in ("", "_low", "_high")]
    assert set(found.data_vars) == {*bounded, "max_abs"}
    for name in found.data_vars:
        xarray.testing.assert_equal(found[name].variable, whole[name].variable)
    assert list(ls.statistics(ONE, ["effective_rank"]).data_vars) == ["effective_rank"]


def test_compare_is_between_two_and_says_how_their_tokens_were_paired():
    found = ls.compare(ONE, TWO, "procrustes")
    whole = ls.analyze(ONE, TWO, measures=["procrustes"])
    xarray.testing.assert_equal(found.variable, whole["procrustes"].variable)
    assert found.sizes == {"layer": 4, "layer_other": 3}
    assert {name: found.attrs[name] for name in ("alignment", "aligned_tokens", "tokens")} == {
        "alignment": "tokens",
        "aligned_tokens": TOKENS,
        "tokens": TOKENS,
    }


def test_paths_and_datasets_alike(file: Path):
    with ls.open_capture(file) as dataset:
        xarray.testing.assert_identical(ls.similarity(dataset), ls.similarity(file))
        xarray.testing.assert_identical(ls.statistics(dataset), ls.statistics(str(file)))
        xarray.testing.assert_identical(ls.compare(dataset, file), ls.compare(file, dataset))


def test_the_accessor_asks_the_same_with_the_dataset_first(file: Path):
    xarray.testing.assert_identical(ONE.layerscope.similarity("cka", seed=1), ls.similarity(ONE, "cka", seed=1))
    xarray.testing.assert_identical(ONE.layerscope.statistics(["norm"]), ls.statistics(ONE, ["norm"]))
    xarray.testing.assert_identical(ONE.layerscope.compare(TWO, "cka"), ls.compare(ONE, TWO, "cka"))
    between = ONE.layerscope.analyze(TWO, measures=["cka"])
    xarray.testing.assert_equal(between, ls.analyze(ONE, TWO, measures=["cka"]))
    xarray.testing.assert_identical(between.layerscope.best_match(), ls.best_match(between))
    alone = ONE.layerscope.analyze(measures=["cosine"])
    assert alone.layerscope.segment("cosine", 2) == segment_measure(alone, "cosine", 2)


@pytest.mark.parametrize(
    "how", ["import layerscope.accessor", "import layerscope as ls; ls.open_capture", "ls.analyze"]
)
def test_the_accessor_is_there_once_asked_for_and_costs_an_import_of_layerscope_nothing(how: str):
    how = how if how.startswith("import") else f"import layerscope as ls; {how}"
    light = "import sys, layerscope; assert not {'xarray', 'torch', 'numpy'} & set(sys.modules)"
    known = "import xarray; assert hasattr(xarray.Dataset, 'layerscope')"
    subprocess.run([sys.executable, "-W", "error", "-c", f"{light}\n{how}\n{known}"], check=True)


@pytest.mark.parametrize(
    ("question", "error", "text"),
    [
        (lambda: ls.similarity(ONE, "norm"), UsageError, "'norm' is a per-layer measure: use statistics"),
        (lambda: ls.compare(ONE, TWO, "norm"), UsageError, "'norm' is a per-layer measure"),
        (lambda: ls.statistics(ONE, ["cka"]), UsageError, "'cka' compares two layers: use similarity"),
        (lambda: ls.similarity(ONE, "cosin"), UsageError, "did you mean 'cosine'"),
        (lambda: xarray.Dataset().layerscope.similarity(), FileError, "the dataset lacks 'hidden'"),
        (lambda: xarray.Dataset().layerscope.segment(), UsageError, "contains no matrix over pairs of layers"),
    ],
)
def test_what_cannot_be_asked(question, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        question()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: ls.similarity(ONE, bootstrap="a"), "similarity: bootstrap 'a' is a str; expected a whole number"),
        (
            lambda: ls.similarity(ONE, bootstap=1),
            "unknown argument of similarity 'bootstap': did you mean 'bootstrap'?",
        ),
        (
            lambda: ls.similarity(ONE, measures=["cka"]),
            "unknown argument of similarity 'measures': did you mean 'measure'?",
        ),
        (lambda: ls.statistics(ONE, other=TWO), "unknown argument of statistics 'other'"),
        (lambda: ls.compare(ONE, TWO, align=4), "compare: align 4 is an int; expected a string"),
        (lambda: ls.over_training([ONE, TWO], memory=None), "over_training: memory is None; expected a string or a"),
        (lambda: ls.analyze_model("m", ["a"], limit="a"), "analyze_model: limit 'a' is a str; expected a whole number"),
        (lambda: ls.analyze_model("m", ["a"], sinks=[]), "unknown argument of analyze_model 'sinks'"),
        (lambda: ONE.layerscope.similarity("cka", seed="a"), "similarity: seed 'a' is a str"),
    ],
)
def test_an_option_is_refused_in_the_name_of_the_function_that_was_called(ask, said):
    with pytest.raises(UsageError) as raised:
        ask()
    assert str(raised.value).startswith(said)
