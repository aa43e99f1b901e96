"""``layerscope scaling`` and its figure, as a user meets them."""

import json

import pytest

import layerscope as ls
from layerscope.results import write_result
from tests.cli.test_commands import run
from tests.cross_model.analyses import analysis

SIZES = {"small": (2, 4, 1), "medium": (3, 9, 1), "large": (4, 14, 1)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the analyses of a family, and some that do not go with them."""
    place = tmp_path_factory.mktemp("scaling")
    for name, sizes in SIZES.items():
        write_result(analysis(name, sizes), place / f"{name}.nc")
    write_result(analysis("other", (1, 4, 1), measures=("cka",)), place / "other.nc")
    write_result(analysis("two", (1, 4, 1), model_other="b"), place / "two.nc")
    write_result(analysis("late", (1, 4, 1), excluded=1), place / "late.nc")
    write_result(analysis("bare", (1, 4, 1)).drop_vars("cosine_bootstrap"), place / "bare.nc")
    (place / "cut.nc").write_bytes((place / "small.nc").read_bytes()[:3000])
    return place


def test_a_table_for_people(place):
    said = run("scaling", "large.nc", "small.nc", "medium.nc", cwd=place).stdout.splitlines()
    assert said[0] == "cosine, all tokens"
    assert [text.split()[0] for text in said[1:4]] == ["small", "medium", "large"]
    assert any("ending is one layer: holds" in text for text in said)


def test_json_and_a_file(place, tmp_path):
    files = [f"{name}.nc" for name in SIZES]
    said = json.loads(run("scaling", *files, "--json", "--output", tmp_path / "c.nc", cwd=place).stdout)
    assert [model["states"] for model in said["models"]] == [7, 13, 19]
    assert said["readings"][0]["sizes"] == {name: list(sizes) for name, sizes in SIZES.items()}
    assert ls.open_scaling(tmp_path / "c.nc")["size"].values[:, 0].tolist() == [list(one) for one in SIZES.values()]
    assert "kind" in run("info", tmp_path / "c.nc").stdout
    assert json.loads(run("info", tmp_path / "c.nc", "--json").stdout)["kind"] == "scaling"
    cited = run("cite", tmp_path / "c.nc").stdout
    assert "sun2024painters" in cited
    assert cited.count("no citation is known for the model") == 3
    for options in ([], ["--kind", "scaling", "--measure", "cosine", "--exclude-first", "0", "--width", "single"]):
        run("plot", tmp_path / "c.nc", *options, "--output", tmp_path / "c.svg", "--overwrite")
        assert "beginning: affine" in (tmp_path / "c.svg").read_text()


REFUSED = [
    (2, ["small.nc"], "give at least two analyses"),
    (2, ["small.nc", "medium.nc", "--measure", "cosin"], "did you mean 'cosine'?"),
    (2, ["small.nc", "medium.nc", "--output", "small.nc"], "exists already"),
    (1, ["small.nc", "none.nc"], "none.nc: there is no such file"),
    (1, ["small.nc", "cut.nc"], "cut.nc is truncated"),
    (1, ["small.nc", "small.nc"], "small.nc is a second analysis of small"),
    (1, ["small.nc", "other.nc"], "other was analysed by cka, small by cosine"),
    (1, ["small.nc", "other.nc", "--measure", "cosine"], "other was analysed by cka, small by cosine"),
    (1, ["small.nc", "two.nc"], "two.nc compares two captures"),
    (1, ["small.nc", "late.nc"], "small was analysed with --exclude-first 0, late with 1"),
    (
        1,
        ["small.nc", "bare.nc"],
        "the analysis of bare contains no replicates of cosine: analyze again with --bootstrap 200",
    ),
]


@pytest.mark.parametrize(("code", "arguments", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_bad_input_leaves_nothing(place, tmp_path, code, arguments, said):
    before = sorted(place.iterdir())
    target = [] if "--output" in arguments else ["--output", tmp_path / "c.nc"]
    done = run("scaling", *arguments, *target, cwd=place, code=code)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not (tmp_path / "c.nc").exists()
    assert sorted(place.iterdir()) == before


def test_options_of_other_figures_are_refused(place, tmp_path):
    done = run("plot", "small.nc", "--exclude-first", "1", "--output", tmp_path / "a.svg", cwd=place, code=2)
    assert "--exclude-first does not apply to --kind heatmap" in done.stderr
    done = run("plot", "small.nc", "--kind", "scaling", "--output", tmp_path / "a.svg", cwd=place, code=1)
    assert "small.nc is no scaling file" in done.stderr
