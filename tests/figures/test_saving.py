import errno
import re
import subprocess
import sys
import zlib

import matplotlib
import pytest
from PIL import Image

from layerscope import figures
from layerscope.errors import FileError, UsageError
from layerscope.segmentation.segmentation import segment
from tests.figures.drawing import cosines, drawn, labelled, statistics
from tests.figures.sweeps import specs, synthetic
from tests.segmentation.matrices import planted

MAGIC = {".pdf": b"%PDF-", ".svg": b"<?xml", ".png": b"\x89PNG\r\n\x1a\n"}


def heatmap():
    matrix = labelled(planted([2, 5, 2]))
    return figures.heatmap(matrix, segment(matrix))


def panel():
    return figures.panel(cosines([2, 5, 2]))


def profile():
    return figures.profile(statistics(9))


def sweep_of(*names, loops=(3,)):
    return synthetic(specs(8, variants=names, seeds=2, loops=loops), tasks=["builtin:cloze", "builtin:order"], depth=8)


OF_SWEEPS = [
    lambda: figures.sweep(sweep_of("skip", "random")),
    lambda: figures.tasks(sweep_of("skip", "parallel"), "loss"),
    lambda: figures.single(sweep_of("drop", "swap")),
    lambda: figures.loops(sweep_of("looped_parallel", loops=(1, 2, 3)), "loss"),
    lambda: figures.drift(sweep_of("skip", "reverse")),
    lambda: figures.latency(sweep_of("skip", "parallel")),
]


@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (heatmap, ".pdf"),
        (heatmap, ".png"),
        (heatmap, ".PNG"),
        (heatmap, ".svg"),
        (panel, ".svg"),
        (profile, ".svg"),
        *((make, ".svg") for make in OF_SWEEPS),
    ],
)
def test_every_kind_is_written_the_same_each_time(tmp_path, make, suffix):
    written = [figures.save(make(), tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two")]
    assert written[0] == written[1]
    assert written[0].startswith(MAGIC[suffix.lower()])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one{suffix}", f"two{suffix}"]


def test_a_figure_saved_twice_is_the_same_file(tmp_path):
    figure = heatmap()
    first = figures.save(figure, tmp_path / "figure.pdf").read_bytes()
    figures.save(figure, tmp_path / "figure.png")
    assert figures.save(figure, tmp_path / "figure.pdf").read_bytes() == first


def test_a_pdf_is_vectors_and_truetype_at_the_width_asked_for(tmp_path):
    content = figures.save(heatmap(), tmp_path / "figure.pdf").read_bytes()
    streams = b"".join(
        zlib.decompress(stream)
        for stream in re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", content, re.S)
    )
    everything = content + streams
    assert b"/FontFile2" in everything
    assert b"/Type3" not in everything
    assert b"/Subtype /Image" not in everything
    assert b"CreationDate" not in everything
    left, bottom, right, _ = map(float, re.search(rb"/MediaBox \[ ([\d. ]+) \]", everything)[1].split())
    assert (left, bottom, right) == (0.0, 0.0, pytest.approx(3.33 * 72, abs=0.1))


@pytest.mark.parametrize("make", OF_SWEEPS)
def test_figures_of_sweeps_are_vectors_with_words(tmp_path, make):
    content = figures.save(make(), tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "<text" in content
    assert "<image" not in content


def test_an_svg_keeps_words_as_words(tmp_path):
    content = figures.save(heatmap(), tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "beginning (0–1)" in content
    assert "<text" in content
    assert "<image" not in content
    assert "<dc:date>" not in content


def test_a_png_has_300_dots_an_inch(tmp_path):
    with Image.open(figures.save(heatmap(), tmp_path / "figure.png")) as picture:
        assert picture.width == 999


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "figure.svg").write_text("old")
    assert figures.save(heatmap(), tmp_path / "figure.svg").read_text(encoding="utf-8") != "old"


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "figure.pdf"
    target.write_text("old")
    figure = heatmap()

    def full(path, **_):
        path.write_bytes(b"%PDF-half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(FileError) as caught:
        figures.save(figure, target)
    assert str(caught.value) == f"{target} cannot be written: No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["figure.pdf"]
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("figure.jpg", "a figure is written as .pdf, .svg or .png, not .jpg"),
        ("figure", "a figure is written as .pdf, .svg or .png, not without a suffix"),
        ("folder.pdf", "is a folder: give the name of a file in it"),
        ("nowhere/figure.pdf", "does not exist: make it first"),
    ],
)
def test_impossible_paths_are_wrong_use(tmp_path, name, message):
    (tmp_path / "folder.pdf").mkdir()
    with pytest.raises(UsageError, match=re.escape(message)):
        figures.save(heatmap(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.pdf"]


OWN_SETTINGS = {
    "font.size": 30.0,
    "axes.facecolor": "black",
    "lines.linewidth": 9.0,
    "xtick.direction": "in",
    "xtick.labelsize": 20.0,
    "image.cmap": "jet",
    "savefig.bbox": "tight",
    "svg.fonttype": "path",
    "axes.grid": True,
    "path.sketch": (5.0, 20.0, 2.0),
    "text.hinting": "none",
}


def test_the_users_settings_neither_matter_nor_change(tmp_path):
    plain = [figures.save(make(), tmp_path / "plain.svg").read_bytes() for make in (heatmap, profile)]
    with matplotlib.rc_context(OWN_SETTINGS):
        before = dict(matplotlib.rcParams)
        theirs = [figures.save(make(), tmp_path / "theirs.svg").read_bytes() for make in (heatmap, profile)]
        assert dict(matplotlib.rcParams) == before
    assert theirs == plain


def test_nor_where_the_user_draws_the_figure_alone():
    figure = profile()
    plain = bytes(drawn(figure).buffer_rgba())
    figure = profile()
    with matplotlib.rc_context(OWN_SETTINGS):
        assert bytes(drawn(figure).buffer_rgba()) == plain


def test_savefig_of_the_figure_itself_is_in_style_too(tmp_path):
    figure = heatmap()
    figure.savefig(tmp_path / "own.svg")
    assert "beginning (0–1)" in (tmp_path / "own.svg").read_text(encoding="utf-8")


def test_figures_load_neither_torch_nor_pyplot_and_open_nothing():
    code = """
import sys
import numpy as np, xarray as xr
from layerscope import figures
assert "matplotlib" not in sys.modules
matrix = xr.DataArray(np.eye(4), dims=("layer", "layer_other"))
result = xr.Dataset({"cosine": matrix, "norm": ("layer", np.ones(4))})
for figure in (figures.heatmap(matrix), figures.panel(result), figures.profile(result)):
    figure._repr_png_()
from tests.figures.sweeps import specs, synthetic
sweep = synthetic(specs(8, seeds=1, loops=(1, 3)) + ["drop:1", "swap:1"], depth=8)
for name in ("sweep", "tasks", "single", "loops", "drift", "stages", "latency"):
    getattr(figures, name)(sweep)._repr_png_()
    assert callable(getattr(figures, name)), name  # and no module of this name has taken its place
for name in ("torch", "transformers", "matplotlib.pyplot", "sklearn", "layerscope.measures.analysis", "layerscope.capturing"):
    assert name not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_notebook_shows_the_figure():
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(heatmap())
    assert shown["image/png"].startswith(MAGIC[".png"])


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'histogram'"):
        figures.histogram  # noqa: B018
    assert dir(figures) == [
        "contributions",
        "drift",
        "heatmap",
        "latency",
        "loops",
        "match",
        "panel",
        "profile",
        "save",
        "scaling",
        "single",
        "stages",
        "streams",
        "sweep",
        "tasks",
        "training",
    ]


AFTER_NNSIGHT = """
import nnsight, numpy, sys, torch
import layerscope as ls
module = nnsight.NNsight(torch.nn.Linear(2, 2))
with module.trace(torch.ones(1, 2)):
    output = module.output.save()
ls.figures.save(ls.figures.heatmap(numpy.eye(4)), sys.argv[1])
"""


def test_figures_can_be_saved_after_nnsight_has_given_every_object_a_save_of_its_own(tmp_path):
    (tmp_path / "program.py").write_text(AFTER_NNSIGHT)  # in a file: nnsight reads the source of what it traces
    subprocess.run([sys.executable, tmp_path / "program.py", tmp_path / "figure.png"], check=True)
    assert (tmp_path / "figure.png").exists()
