"""Two models and checkpoints of one on the command line: spans, training, their figures, and what is refused."""

import json

import pytest
import xarray

from layerscope.capturing.capture import capture
from tests.capturing.test_capture import texts
from tests.capturing.test_capture_spans import letter_model
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = texts(count=8, longest=15)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Captures of two tokenizers, and of three checkpoints in folders that say their step."""
    place = tmp_path_factory.mktemp("between")
    (place / "some.txt").write_text("\n".join(TEXTS))
    for step in (0, 10, 200):
        tiny_module("gpt_neox", seed=step).save_pretrained(place / f"tiny@step{step}")
        word_tokenizer().save_pretrained(place / f"tiny@step{step}")
        run("capture", f"tiny@step{step}", "--texts", "some.txt", "--output", f"{step}.h5", cwd=place)
    run("capture", "tiny@step0", "--texts", "some.txt", "--spans", "--output", "words.h5", cwd=place)
    capture(letter_model(), TEXTS, place / "letters.h5", spans=True)
    return place


@pytest.mark.filterwarnings("always:.*compared where tokens end at the same character")
def test_two_tokenizers(place, tmp_path):
    done = run("analyze", "words.h5", "letters.h5", "--measures", "cka", "--output", tmp_path / "two.nc", cwd=place)
    assert "note: words.h5 and letters.h5 hold different tokens" in done.stderr
    quiet = run(
        *("analyze", "words.h5", "letters.h5", "--measures", "cka", "--align", "spans"),
        *("--bootstrap", "39", "--output", tmp_path / "again.nc"),
        cwd=place,
    )
    assert quiet.stderr == ""
    info = json.loads(run("info", tmp_path / "two.nc", "--json").stdout)
    assert (info["alignment"], info["captured_tokens"]) == ("spans", info["aligned_tokens"])
    for name in ("two", "again"):
        run("plot", tmp_path / f"{name}.nc", "--kind", "match", "--output", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_over_training(place, tmp_path):
    target = tmp_path / "training.nc"
    done = run("training", "200.h5", "0.h5", "10.h5", "--measure", "cka_biased", "--output", target, cwd=place)
    assert done.stdout.strip() == f"{target}: cka_biased of 5 layers at steps 0, 10, 200"
    with xarray.open_dataset(target, engine="h5netcdf") as result:
        assert result["cka_biased_to_last"].sizes == {"checkpoint": 3, "layer": 5}
    assert json.loads(run("info", target, "--json").stdout)["kind"] == "training"
    assert run("plot", target, "--output", tmp_path / "figure.svg").stdout.strip() == str(tmp_path / "figure.svg")
    given = run("training", "0.h5", "10.h5", "--steps", "5,3", "--output", tmp_path / "given.nc", cwd=place)
    assert given.stdout.strip().endswith("at steps 3, 5")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["analyze", "words.h5", "letters.h5", "--align", "tokens"], 1, "hold different tokens"),
        (["analyze", "0.h5", "letters.h5"], 1, "of different tokenizers capture both with --spans"),
        (["analyze", "0.h5", "letters.h5", "--align", "spans"], 2, "0.h5 does not record the characters of its tokens"),
        (["analyze", "0.h5", "10.h5", "--align", "words"], 2, "unknown alignment 'words'"),
        (["training", "0.h5"], 2, "give captures of at least two checkpoints"),
        (["training", "0.h5", "letters.h5"], 2, "'tiny-letters', does not contain a training step"),
        (["training", "0.h5", "10.h5", "--steps", "1,a"], 2, "--steps '1,a': give whole numbers"),
        (["training", "0.h5", "some.txt"], 1, "some.txt is no HDF5 file"),
        (["plot", "some.txt", "--kind", "training"], 1, "some.txt is no HDF5 file, so no training file"),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(place, tmp_path, arguments, code, words):
    target = tmp_path / ("new.pdf" if arguments[0] == "plot" else "new.nc")
    done = run(*arguments, "--output", target, cwd=place, code=code)
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []
