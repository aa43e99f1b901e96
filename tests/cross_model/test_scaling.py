import re

import numpy as np
import pytest
import xarray as xr

import layerscope as ls
from layerscope.cross_model.scaling import scaling
from layerscope.cross_model.scaling_report import scaling_as_dict, scaling_as_lines
from layerscope.errors import FileError, MeasureError, UsageError
from layerscope.results import kind_of, write_result
from tests.cross_model.analyses import DIMS, analysis
from tests.segmentation.matrices import planted

FAMILY = [("small", (2, 4, 1)), ("medium", (3, 9, 1)), ("large", (4, 14, 1)), ("huge", (5, 19, 1))]


def family(**options):
    return [analysis(name, sizes, **options) for name, sizes in FAMILY]


def test_sizes_and_proportions_of_every_model():
    found = ls.scaling(family()[::-1])
    assert found.model.values.tolist() == ["small", "medium", "large", "huge"]
    assert found["size"].dims == ("model", "reading", "segment")
    assert found["size"].values[:, 0].tolist() == [list(sizes) for _, sizes in FAMILY]
    assert found.proportion.sel(segment="beginning").values.ravel() == pytest.approx([2 / 7, 3 / 13, 4 / 19, 5 / 25])
    assert found.states.values.tolist() == [7, 13, 19, 25]
    assert found.parameters.values.tolist() == [70_000, 130_000, 190_000, 250_000]
    assert (found.stability == 1).all()


def test_the_supported_curves_are_the_planted_ones():
    found = ls.scaling(family())
    assert found.supported.values.tolist() == [["affine", "affine", "constant"]]
    fit = found.isel(reading=0).sel(segment="beginning", form="affine")
    assert float(fit.slope) == pytest.approx(1 / 6)
    assert float(fit.intercept) == pytest.approx(5 / 6)
    assert float(fit.support) == 1.0
    assert found.support.sum("form").values == pytest.approx(1.0)
    assert found.verdict.values.tolist() == [["holds", "holds"]]
    assert float(found.beginning_trend.item()) < 0


def test_intervals_and_support_come_from_the_replicates():
    drawn = [(1, 4, 2)] * 22 + [(2, 4, 1)] * 18
    first = analysis("small", (2, 4, 1), replicates=drawn)
    others = [analysis(name, sizes, replicates=[sizes] * 40) for name, sizes in FAMILY[1:]]
    found = ls.scaling([first, *others])
    small = found.sel(model="small").isel(reading=0)
    assert (small.size_low.values.tolist(), small.size_high.values.tolist()) == ([1, 4, 1], [2, 4, 2])
    assert small.proportion_low.values == pytest.approx(np.array([1, 4, 1]) / 7)
    assert small.stability.values == pytest.approx([18 / 40, 18 / 40])
    assert found.claim_support.sel(claim="ending_is_one_layer").item() == pytest.approx(18 / 40)
    assert found.verdict.sel(claim="ending_is_one_layer").item() == "undecided"
    fits = found.isel(reading=0).sel(segment="beginning", form="affine")
    slopes = [np.polyfit(found.states, [first_size, 3, 4, 5], 1)[0] for first_size in (2, 2, 1)]
    assert [float(fits[f"slope{end}"]) for end in ("", "_low", "_high")] == pytest.approx(slopes)
    fits = found.isel(reading=0).sel(segment="ending", form="constant")
    assert [float(fits[f"intercept{end}"]) for end in ("", "_low", "_high")] == pytest.approx([1, 1, 1.25])
    assert "beginning  2 [1, 2] (0.29)" in list(scaling_as_lines(found))[1]
    assert found.size_bootstrap.sel(model="small").values[:, 0].tolist() == [list(one) for one in drawn]
    assert found.support.sel(segment="beginning", form="affine").item() == pytest.approx(18 / 40)


def test_first_tokens_in_and_out_are_readings_of_their_own():
    both = family(measures=("cosine", "cka")) + [
        analysis(name, (1, sizes[0] + sizes[1] - 2, 2), excluded=1, measures=("cosine", "cka"))
        for name, sizes in FAMILY
    ]
    found = ls.scaling(both)
    keys = list(zip(found.measure.values.tolist(), found.excluded_first.values.tolist(), strict=True))
    assert keys == [("cosine", 0), ("cosine", 1), ("cka", 0), ("cka", 1)]
    assert found["size"].sel(model="small").values.tolist() == [[2, 4, 1], [1, 4, 2]] * 2
    assert ls.scaling(both, measure="cka").measure.values.tolist() == ["cka", "cka"]


def test_the_sequence_cosine_without_first_tokens_is_a_reading_of_the_sequence_cosine():
    names = ("cosine_sequence", "cosine_sequence_without_first")
    found = [analysis(name, sizes, measures=names) for name, sizes in FAMILY]
    for result, (_, sizes) in zip(found, FAMILY, strict=True):
        other = (1, sizes[0] + sizes[1] - 1, 1)
        result[names[1]] = (DIMS, planted(other))
        result[f"{names[1]}_bootstrap"] = (("replicate", *DIMS), np.stack([planted(other)] * 8))
    for answer in (ls.scaling(found), ls.scaling(found, measure="cosine_sequence")):
        assert answer.measure.values.tolist() == ["cosine_sequence", "cosine_sequence"]
        assert answer.excluded_first.values.tolist() == [0, 1]
        assert answer["size"].sel(model="small").values.tolist() == [[2, 4, 1], [1, 5, 1]]
    # An analysis made without the first tokens is the reading itself, and has no further one.
    whole = [analysis(name, sizes, excluded=1, measures=names) for name, sizes in FAMILY]
    assert ls.scaling([*found, *whole])["size"].sel(model="small").values.tolist() == [[2, 4, 1], [2, 4, 1]]
    assert ls.scaling(whole).excluded_first.values.tolist() == [1]


def test_only_measures_that_all_have_and_that_can_be_cut():
    some = family(measures=("cosine", "cka"))
    some[0] = some[0].drop_vars(["cka", "cka_bootstrap"])
    for result in some:
        matrix = np.triu(result["cosine"].values) + 0.1
        result["linear_r2"] = (DIMS, matrix, {"range": "[0, 1]"})
        result["unbounded"] = (DIMS, 1 - result["cosine"].values, {"range": "[0, inf)"})
    assert ls.scaling(some).measure.values.tolist() == ["cosine"]


def test_distances_are_turned_into_similarities():
    some = [result.rename({"cosine": "procrustes", "cosine_bootstrap": "procrustes_bootstrap"}) for result in family()]
    for result in some:
        for name in ("procrustes", "procrustes_bootstrap"):
            result[name] = (1 - result[name]).assign_attrs(range="[0, 2]")
    assert ls.scaling(some)["size"].values[:, 0].tolist() == [list(sizes) for _, sizes in FAMILY]


def test_unknown_parameters_are_said_and_depth_orders_the_models():
    some = family()
    del some[2].attrs["parameters"]
    with pytest.warns(UserWarning, match="captures of large do not record the number of parameters"):
        found = ls.scaling(some[::-1])
    assert found.model.values.tolist() == ["small", "medium", "large", "huge"]
    assert np.isnan(found.parameters.values).tolist() == [False, False, True, False]
    assert np.isnan(found.slope.sel(form="logarithmic")).all()
    assert "tenfold of states" in found.beginning_trend.attrs["long_name"]
    assert scaling_as_dict(found)["models"][2]["parameters"] is None


def test_different_texts_are_said():
    with pytest.warns(UserWarning, match=r"different texts: builtin:passages, other\.txt"):
        ls.scaling([*family()[:2], analysis("other", (1, 8, 1), texts="other.txt")])


def test_matrices_stand_in_the_corner_of_the_largest():
    found = ls.scaling(family())
    assert found.similarity.shape == (4, 1, 25, 25)
    small = found.similarity.sel(model="small").values[0]
    np.testing.assert_allclose(small[:7, :7], planted((2, 4, 1)), atol=1e-6)
    assert np.isnan(small[7:]).all()
    assert np.isnan(small[:, 7:]).all()


def test_files_in_and_a_file_out(tmp_path):
    for number, result in enumerate(family()):
        write_result(result, tmp_path / f"{number}.nc")
    found = ls.scaling([tmp_path / f"{number}.nc" for number in range(4)])
    write_result(found, tmp_path / "scaling.nc")
    assert kind_of(tmp_path / "scaling.nc") == "scaling"
    assert kind_of(tmp_path / "0.nc") == "analysis"
    again = ls.open_scaling(tmp_path / "scaling.nc")
    xr.testing.assert_equal(again, found)
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "scaling.nc", engine="h5netcdf").load(), found)
    with pytest.raises(FileError, match=r"0\.nc is no scaling file"):
        ls.open_scaling(tmp_path / "0.nc")


def test_words_for_people_and_for_machines():
    found = ls.scaling(family())
    said = scaling_as_dict(found)["readings"][0]
    assert said["sizes"]["medium"] == [3, 9, 1]
    assert said["fits"]["ending"] | {"support": 1.0} == {
        "form": "constant",
        "support": 1.0,
        "intercept": [pytest.approx(1)] * 3,
        "slope": [0, 0, 0],
        "left_out_error": pytest.approx(0, abs=1e-9),
    }
    assert said["claims"]["ending_is_one_layer"] == {
        "holds": True,
        "support": 1.0,
        "robust": True,
        "verdict": "holds",
    }
    lines = list(scaling_as_lines(found))
    assert lines[0] == "cosine, all tokens"
    assert " ".join(lines[1].split()) == "small 70k 7 states beginning 2 (0.29) middle 4 (0.57) ending 1 (0.14)"
    assert "constant: 1; off by 0.0 layers at a model left out; supported by 100% of the replicates" in lines[7]


def changed(place, **attrs):
    some = family()
    some[place] = some[place].assign_attrs(attrs)
    return some


def without(place, name):
    some = family()
    some[place] = some[place].drop_vars(name)
    return some


def renamed(place, name):
    some = family()
    some[place] = some[place].rename({"cosine": name, "cosine_bootstrap": f"{name}_bootstrap"})
    return some


def with_nan():
    some = family()
    some[1]["cosine"][2, 3] = some[1]["cosine"][3, 2] = np.nan
    return some


def asymmetric():
    some = family()
    for result in some:
        result["cosine"][0, 1] = 0.5
    return some


COUNTS = ("num_blocks", "parameters")
ODD = [("x", "'x'"), (-1, "-1"), (float("nan"), "nan"), ([3], "[3]"), (True, "True"), (12.5, "12.5")]
REFUSED = [
    (changed(1, model_other="b"), "analysis 2 compares two captures: scaling takes analyses of one capture each"),
    (
        changed(1, schedule="skip:2"),
        "analysis 2 is of medium under skip:2: scaling compares models with their blocks in order",
    ),
    (
        changed(1, stream="mlp"),
        "analysis 2 is of stream mlp, which has blocks in place of states: scaling compares states",
    ),
    (changed(2, num_blocks=30), "analysis 3 contains 19 of the 31 states of large: capture again without --layers"),
    (changed(1, model="small"), "analysis 2 is a second analysis of small with --exclude-first 0"),
    ([*family(), analysis("small", (2, 4, 1), excluded=1)], "analysed with --exclude-first 0 and 1, medium with 0"),
    ([analysis("small", (2, 4, 1), excluded=k) for k in (0, 1)], "all analyses are of small"),
    (without(1, "cosine_bootstrap"), "the analysis of medium contains no replicates of cosine: analyze again with"),
    (without(3, "cosine"), "analysis 4 contains no matrix over pairs of layers"),
    (renamed(2, "cka"), "small was analysed by cosine, large by cka: analyze all models with the same --measures"),
    ([*family()[:3], analysis("huge", (5, 19, 1), replicates=[(5, 19, 1)] * 9)], "8 replicates for small, 9 for huge"),
    (asymmetric(), "the analyses contain no symmetric similarity"),
    (with_nan(), "medium: 'cosine' is not finite between layers 2 and 3"),
    ([analysis("a", (1, 1, 0)), analysis("b", (1, 4, 1))], "a: 2 layers cannot be cut into 3 segments"),
    ([family()[0].drop_attrs(), family()[1]], "analysis 1 does not record the name of the model"),
    *(
        (changed(1, **{name: value}), f"analysis 2: its attribute {name} {said} must be a whole number")
        for name in COUNTS
        for value, said in ODD
    ),
]


@pytest.mark.parametrize(("given", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_cannot_be_compared_is_refused_by_name(given, said):
    with pytest.raises(MeasureError, match=re.escape(said)):
        scaling(given)


def test_wrong_use():
    with pytest.raises(UsageError, match="give at least two analyses"):
        scaling(family()[:1])
    with pytest.raises(UsageError, match="a str; expected a list of two analyses or more"):
        scaling("run.nc")
    with pytest.raises(UsageError, match="unknown measure in these analyses 'cosin': did you mean 'cosine'"):
        scaling(family(), measure="cosin")
    with pytest.raises(MeasureError, match="small was analysed by cosine, large by cka"):
        scaling(renamed(2, "cka"), measure="cosine")
