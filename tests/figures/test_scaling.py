import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Rectangle

import layerscope as ls
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.kinds.scaling import scaling
from tests.cross_model.analyses import analysis
from tests.figures.drawing import assert_readable, labelled, words
from tests.segmentation.matrices import planted

SIZES = {"EleutherAI/pythia-14m": (2, 4, 1), "EleutherAI/pythia-160m": (3, 9, 1), "EleutherAI/pythia-410m": (4, 20, 1)}
LATE = [(2, 4, 1)] * 9 + [(1, 4, 2)] * 9


def found(count=3, **options):
    some = list(SIZES.items()) + [(f"owner/a-rather-long-name-{n}", (3 + n, 30 + n, 2)) for n in range(7)]
    analyses = [analysis(name, sizes, parameters=10**6 * 3**n, **options) for n, (name, sizes) in enumerate(some)]
    return ls.scaling(analyses[:count])


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("width", ["single", "double", 4.0])
@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_readable_at_every_width(count, width):
    figure = scaling(found(count), width=width)
    assert_readable(figure)
    assert len(figure.axes) == count + 3


def test_matrices_are_cut_to_their_models_with_their_segments():
    figure = scaling(found())
    for axes, (name, sizes) in zip(figure.axes, SIZES.items(), strict=False):
        cells = next(one for one in axes.collections if isinstance(one, PolyCollection))
        assert len(cells.get_array()) == sum(sizes) ** 2
        np.testing.assert_allclose(cells.get_array().reshape(sum(sizes), -1), planted(sizes), atol=1e-6)
        assert [box.get_width() for box in axes.patches if isinstance(box, Rectangle)] == list(sizes)
        assert axes.get_title(loc="left") == name.partition("/")[2]
    scales = {tuple(axes.collections[0].get_clim()) for axes in figure.axes[:3]}
    assert len(scales) == 1


def test_points_intervals_and_the_supported_curve():
    some = [
        analysis(name, sizes, replicates=[sizes] * 18, parameters=10**n)
        for n, (name, sizes) in enumerate(SIZES.items(), 6)
    ]
    some[0] = analysis("EleutherAI/pythia-14m", (2, 4, 1), replicates=LATE, parameters=10**6)
    figure = scaling(ls.scaling(some))
    counts, shares = figure.axes[-2:]
    assert line(counts, "ending").get_ydata().tolist() == [1, 1, 1]
    assert line(counts, "middle").get_ydata().tolist() == [4, 9, 20]
    assert line(shares, "beginning").get_ydata() == pytest.approx([2 / 7, 3 / 13, 4 / 25])
    bars = [one for one in counts.collections if isinstance(one, LineCollection)]
    assert [bar.get_segments()[0][:, 1].tolist() for bar in bars] == [[1, 2], [4, 4], [1, 2]]
    curve = line(counts, "_ending fit")
    assert np.ptp(curve.get_ydata()) == 0
    middle = line(counts, "_middle fit")
    slope, intercept = np.polyfit([7, 13, 25], [4, 9, 20], 1)
    assert middle.get_ydata() == pytest.approx(intercept + slope * middle.get_xdata())
    assert (counts.get_xscale(), counts.get_yscale(), shares.get_xscale(), shares.get_yscale()) == (
        "log",
        "log",
        "log",
        "linear",
    )
    said = [text for text, _, _ in words(figure)]
    assert {"middle: affine", "ending: constant", "95 % interval over texts", "1M", "100M", "parameters"} <= set(said)


def test_a_logarithmic_curve_is_known_at_the_models_alone():
    sizes = [(2, 4, 1), (4, 20, 1), (6, 12, 1), (8, 28, 1)]
    some = [analysis(f"m{n}", one, parameters=10 ** (6 + n)) for n, one in enumerate(sizes)]
    result = ls.scaling(some)
    assert result.supported.sel(segment="beginning").item() == "logarithmic"
    counts, shares = scaling(result).axes[-2:]
    curve = line(counts, "_beginning fit")
    dashes = curve.get_xydata().reshape(4, 3, 2)
    assert np.isnan(dashes[:, 2, 0]).all()  # a gap after each
    assert np.sqrt(dashes[:, 0, 0] * dashes[:, 1, 0]) == pytest.approx([7, 25, 19, 37])
    assert dashes[:, :2, 1] == pytest.approx(np.array([[2, 2], [4, 4], [6, 6], [8, 8]]))
    assert line(shares, "_beginning fit").get_ydata() == pytest.approx([2 / 7, 4 / 25, 6 / 19, 8 / 37])


def test_unknown_parameters_leave_the_states():
    some = [analysis(name, sizes) for name, sizes in SIZES.items()]
    del some[0].attrs["parameters"]
    with pytest.warns(UserWarning, match="do not record the number of parameters"):
        figure = scaling(ls.scaling(some))
    assert figure.axes[-1].get_xlabel() == "states (blocks + 1)"
    assert_readable(figure)


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda dataset: dataset.isel(layer=slice(0, 1)), "fewer layers than its models have states"),
        (lambda dataset: dataset.drop_vars("segment"), "lacks 'segment'"),
        (lambda dataset: dataset.isel(segment=[0, 2]), "lacks the segment middle"),
        (lambda dataset: dataset.isel(form=[1]), "lacks the form constant, affine, logarithmic"),
    ],
)
def test_what_is_no_whole_scaling_is_refused(hurt, words):
    with pytest.raises(UsageError, match=words):
        scaling(hurt(found()))


def test_without_intervals_the_counts_are_drawn():
    dataset = found()
    figure = scaling(dataset.assign(size_high=dataset["size_high"] * np.nan))
    assert figure.axes[-2].get_ylim()[1] >= float(dataset["size"].max())


def test_the_reading_that_is_asked_for():
    some = [
        analysis(name, (1, sum(sizes) - 2, 1), excluded=1, measures=("cka", "cosine")) for name, sizes in SIZES.items()
    ]
    some += [analysis(name, sizes, measures=("cka", "cosine")) for name, sizes in SIZES.items()]
    result = ls.scaling(some)
    shown = {"cosine": scaling(result), "cka": scaling(result, "cka", exclude_first=1)}
    assert line(shown["cosine"].axes[-2], "beginning").get_ydata().tolist() == [2, 3, 4]
    assert line(shown["cka"].axes[-2], "beginning").get_ydata().tolist() == [1, 1, 1]
    assert shown["cka"].axes[3].get_xlabel() == "mean cka, first token left out"
    with pytest.raises(UsageError, match="unknown measure in this scaling 'ckaa': did you mean 'cka'"):
        scaling(result, "ckaa")
    with pytest.raises(MeasureError, match="cka was read with 0 and 1 tokens left out, not 3"):
        scaling(result, "cka", exclude_first=3)
    with pytest.raises(UsageError, match="this is no scaling"):
        scaling(labelled(planted((2, 2))).to_dataset())
