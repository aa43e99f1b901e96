"""``layerscope analyze MODEL --texts``, as a user meets it."""

import pytest
import xarray

from layerscope.results import read_analysis
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    tiny_module("gpt_neox").save_pretrained(place / "model")
    word_tokenizer().save_pretrained(place / "model")
    (place / "some.txt").write_text("\n".join(f"w{n} w{n + 1} w{2 * n} w5 w7 w{n + 3}" for n in range(12)))
    return place


def test_equals_capture_and_analyze(place, tmp_path):
    run("capture", "model", "--texts", "some.txt", "--limit", "9", "--output", tmp_path / "run.h5", cwd=place)
    options = ["--bootstrap", "10", "--exclude-first", "1", "--measures", "cosine,cka,norm"]
    run("analyze", tmp_path / "run.h5", *options, "--output", tmp_path / "a.nc", cwd=place)
    said = run(
        "analyze", "model", "--texts", "some.txt", "--limit", "9", *options, "--output", tmp_path / "b.nc", cwd=place
    )
    one, other = (read_analysis(tmp_path / name) for name in ("a.nc", "b.nc"))
    xarray.testing.assert_allclose(other, one, rtol=1e-6)
    assert said.stdout == f"{tmp_path / 'b.nc'}: cosine, cka, norm\n"
    assert not list(place.glob("*.h5"))
    run("segment", tmp_path / "b.nc", cwd=place)


REFUSED = [
    (["model"], "model is a model: give --texts to run it on"),
    (["none.gguf"], "none.gguf is a model: give --texts to run it on"),
    (["run.h5", "--max-length", "5"], "--max-length is an option of a model run: add --texts"),
    (["model", "model", "--texts", "some.txt"], "two models are compared by their captures"),
    (["model", "--texts", "some.txt", "--align", "spans"], "two models are compared by their captures"),
    (["model", "--texts", "some.txt", "--null", "3"], "--null and --ceiling read the states many times"),
    (["model", "--texts", "some.txt", "--limit", "0"], "limit 0"),
    (["model", "--texts", "some.txt", "--dtype", "int4"], "unknown dtype"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_wrong_use_leaves_nothing(place, arguments, said):
    before = sorted(place.iterdir())
    done = run("analyze", *arguments, "--output", "new.nc", cwd=place, code=2)
    assert said in done.stderr
    assert sorted(place.iterdir()) == before


def test_models_and_texts_that_are_not_there(place):
    for arguments in (["none", "--texts", "some.txt"], ["model", "--texts", "none.txt"]):
        done = run("analyze", *arguments, "--output", "new.nc", cwd=place, code=1)
        assert "none" in done.stderr
        assert not (place / "new.nc").exists()
