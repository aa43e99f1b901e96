import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.results import write_result
from tests.cli.test_commands import run
from tests.figures.drawing import assert_readable, labelled
from tests.segmentation.matrices import planted


def analyses(depth=12, excluded=0, **attrs):
    """Return an analysis of each stream of one capture."""
    made = {}
    for number, (stream, sizes) in enumerate((("resid", (1, depth)), ("attn", (2, depth - 2)), ("mlp", (depth,)))):
        matrix = labelled(planted(sizes, 0.9 - 0.1 * number, 0.1 * number))
        matrix.attrs |= {"stream": stream, "excluded_first": excluded}
        made[stream] = matrix.to_dataset().assign_attrs({"stream": stream, "model": "m", "provenance": "{}"} | attrs)
    return made


@pytest.mark.parametrize(("depth", "width"), [(3, "single"), (30, "double"), (30, 2.5), (80, "single"), (80, 5.0)])
def test_readable_at_every_width(depth, width):
    assert_readable(figures.streams(analyses(depth), width=width))


def test_each_shows_its_own_matrix_on_one_scale_in_the_order_of_the_streams():
    made = analyses()
    made["mlp"]["cosine"][0, 5] = made["mlp"]["cosine"][5, 0] = -0.3
    figure = figures.streams(dict(reversed(made.items())))
    for axes, (stream, title) in zip(
        figure.axes, (("resid", "residual stream"), ("attn", "attention"), ("mlp", "MLP")), strict=False
    ):
        (cells,) = axes.findobj(PolyCollection)
        np.testing.assert_array_equal(cells.get_array(), made[stream]["cosine"].values.ravel())
        assert (cells.norm.vmin, cells.norm.vmax) == (-0.5, 1.0)
        assert axes.texts[1].get_text() == title
    assert len(figure.axes) == 4
    assert figure.axes[-1].get_ylim() == (-0.5, 1.0)


def test_states_and_blocks_are_named():
    figure = figures.streams(analyses(30))
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["layer (0 = embedding)", "block", "block"]
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["layer", "block", "block"]


def test_a_matrix_of_blocks_is_named_in_every_figure():
    made = analyses(30)["attn"]
    assert figures.heatmap(made["cosine"]).axes[0].get_ylabel() == "block"
    made["cosine_sequence"] = made["cosine"]
    panel = figures.panel(made).axes[0]
    assert [text.get_text() for text in panel.texts] == ["a", "whole sequence", "first token included"]
    assert panel.get_ylabel() == "block"
    made["norm"] = ("layer", np.arange(1.0, 31.0))
    assert figures.profile(made).axes[0].get_xlabel() == "block"


def test_left_out_tokens_are_said():
    figure = figures.streams(analyses(excluded=1), width="single")
    assert figure.axes[-1].get_ylabel() == "mean cosine over tokens, first token left out"


def test_refusals():
    made = analyses()
    with pytest.raises(UsageError, match="needs an analysis of at least one stream"):
        figures.streams({})
    with pytest.raises(UsageError, match="unknown stream 'attention'"):
        figures.streams({"attention": made["attn"]})
    with pytest.raises(UsageError, match="the analysis given as mlp is of stream attn"):
        figures.streams({"mlp": made["attn"]})
    with pytest.raises(UsageError, match="unknown measure in this analysis 'cka'"):
        figures.streams(made, "cka")
    with pytest.raises(UsageError, match="different captures: the model of resid is m, of mlp other"):
        figures.streams(made | {"mlp": analyses(model="other")["mlp"]})
    with pytest.raises(UsageError, match=r"of resid leaves out 0 first tokens, of attn 1: .*same --exclude-first"):
        figures.streams(made | {"attn": analyses(excluded=1)["attn"]})


def test_the_command_takes_several_files_in_any_order(tmp_path):
    made = analyses()
    for stream, result in made.items():
        write_result(result, tmp_path / f"{stream}.nc")
    done = run("plot", "mlp.nc", "resid.nc", "attn.nc", "--output", "three.svg", cwd=tmp_path)
    assert done.stdout == "three.svg\n"
    drawn = (tmp_path / "three.svg").read_text(encoding="utf-8")
    assert drawn.index("residual stream") < drawn.index("attention") < drawn.index("MLP")
    refused = run("plot", "mlp.nc", "mlp.nc", "--output", "no.svg", cwd=tmp_path, code=2)
    assert "two of the analyses are of stream mlp" in refused.stderr
    refused = run("plot", "mlp.nc", "resid.nc", "--kind", "heatmap", cwd=tmp_path, code=2)
    assert "--kind heatmap draws one file, 2 are given" in refused.stderr
