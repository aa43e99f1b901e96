import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection

import layerscope as ls
from layerscope import figures
from layerscope.errors import UsageError
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind
from layerscope.results import write_result
from tests.cli.test_commands import run
from tests.figures.drawing import assert_readable

NAMES = [name for name, measure in MEASURES.items() if measure.kind is Kind.PER_BLOCK]


def blocks(count, suffix="", excluded=0, intervals=True):
    """Return measures of blocks, each of its own values."""
    result = xr.Dataset(coords={f"block{suffix}": np.arange(count)})
    for number, name in enumerate(NAMES):
        values = (
            np.linspace(-0.5, 0.5, count) / (1 + number) if name.endswith("cosine") else 0.1 + np.arange(count) + number
        )
        result[f"{name}{suffix}"] = (f"block{suffix}", values, {"excluded_first": excluded})
        if intervals:
            result[f"{name}{suffix}_low"] = (f"block{suffix}", values - 0.05)
            result[f"{name}{suffix}_high"] = (f"block{suffix}", values + 0.07)
    return result


def line(axes, label):
    (found,) = (one for one in axes.lines if one.get_label() == label)
    return found


@pytest.mark.parametrize(("count", "width"), [(1, "single"), (2, 2.5), (30, "single"), (30, "double"), (96, 2.5)])
def test_readable_at_every_width(count, width):
    assert_readable(figures.contributions(blocks(count), width=width))


def test_every_measure_of_blocks_is_drawn_with_its_interval():
    result = blocks(12)
    size, direction = figures.contributions(result).axes
    for axes, ending in ((size, "ratio"), (direction, "cosine")):
        bands = [one.get_paths()[0].vertices[:, 1] for one in axes.findobj(PolyCollection)]
        for part, label in (("attn", "attention"), ("mlp", "MLP"), ("update", "whole block")):
            name = f"{part}_{ending}"
            np.testing.assert_array_equal(line(axes, label).get_ydata(), result[name])
            ends = [float(result[f"{name}_low"].min()), float(result[f"{name}_high"].max())]
            assert any([band.min(), band.max()] == pytest.approx(ends) for band in bands), name
    assert (size.get_yscale(), direction.get_yscale()) == ("log", "linear")
    assert [axes.get_xlabel() for axes in (size, direction)] == ["block", "block"]


@pytest.mark.parametrize("name", ["attn_ratio", "update_cosine"])
def test_a_single_measure_is_a_figure(name):
    figure = figures.contributions(blocks(30)[[name]], width=2.5)
    assert len(figure.axes) == 1
    assert_readable(figure)


@pytest.mark.parametrize(
    ("excluded", "words"), [(0, "first token included"), (1, "first token left out"), (3, "first 3 tokens left out")]
)
def test_titles_say_which_tokens_count(excluded, words):
    figure = figures.contributions(blocks(5, excluded=excluded))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"norm of the addition / norm of the state\n{words}",
        f"cosine of the addition with the state\n{words}",
    ]


def test_the_second_capture_is_dashed():
    result = xr.merge([blocks(12), blocks(7, "_other")])
    figure = figures.contributions(result)
    first, second = [one for one in figure.axes[0].lines if one.get_label() == "attention"]
    assert [first.get_linestyle(), second.get_linestyle()] == ["-", "--"]
    np.testing.assert_array_equal(second.get_ydata(), result["attn_ratio_other"])
    assert [text.get_text() for text in figure.legends[1].get_texts()] == ["first capture", "second capture"]
    assert_readable(figure)


def test_scattered_blocks_stand_at_their_numbers():
    result = blocks(3).assign_coords(block=[0, 5, 29])
    np.testing.assert_array_equal(line(figures.contributions(result).axes[0], "MLP").get_xdata(), [0, 5, 29])


def test_no_values_and_no_measures():
    nothing = xr.Dataset({"attn_ratio": ("block", [np.nan, np.nan])})
    assert [text.get_text() for text in figures.contributions(nothing).axes[0].texts] == ["no values"]
    with pytest.raises(UsageError, match=r"the analysis holds no measure of blocks: .*--measures attn_ratio,mlp_ratio"):
        figures.contributions(xr.Dataset({"norm": ("layer", [1.0, 2.0])}))
    with pytest.raises(UsageError, match="has 'attn_ratio_low' on"):
        figures.contributions(blocks(4).assign(attn_ratio_low=0.5))


def test_a_file_with_measures_of_blocks_alone_is_drawn_so_without_a_kind(tmp_path):
    layers = {"layer": np.arange(5), "layer_other": np.arange(5)}
    result = blocks(4).assign_coords(layers).assign_attrs(provenance="{}")
    write_result(result, tmp_path / "blocks.nc")
    write_result(result.assign(cosine=(("layer", "layer_other"), np.eye(5))), tmp_path / "mixed.nc")
    assert run("plot", "blocks.nc", cwd=tmp_path).stdout.endswith("blocks-contributions.pdf\n")
    assert run("plot", "mixed.nc", cwd=tmp_path).stdout.endswith("mixed-heatmap.pdf\n")
    assert (tmp_path / "blocks-contributions.pdf").read_bytes().startswith(b"%PDF")


def test_an_analysis_of_a_capture_is_drawn():
    states = np.random.default_rng(0).normal(size=(4, 3, 5))
    token = ("token", np.array([0, 0, 1, 1]))
    capture = xr.Dataset(
        {"hidden": (("token", "layer", "feature"), states)},
        {"layer": [0, 1, 2], "layer_name": ("layer", ["embedding", "block.0", "block.1"])}
        | {"sequence_index": token, "position": ("token", np.array([0, 1, 0, 1])), "token_id": token},
    )
    result = ls.analyze(capture, measures=["update_ratio"], exclude_first=1)
    (axes,) = figures.contributions(result).axes
    later = states[1::2]
    ratio = np.linalg.norm(np.diff(later, axis=1), axis=-1) / np.linalg.norm(later[:, :-1], axis=-1)
    np.testing.assert_allclose(line(axes, "whole block").get_ydata(), ratio.mean(0))
    assert axes.get_title(loc="left") == "norm of the addition / norm of the state\nfirst token left out"
