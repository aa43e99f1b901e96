"""The script that trains a family of depths, at a size that takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import layerscope as ls

SCRIPT = Path(__file__).parent.parent / "analyses" / "train_family.py"
TINY = ["--depths", "1,3", "--width", "16", "--vocabulary", "300", "--steps", "40", "--length", "16", "--batch", "4"]


def train(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, SCRIPT, *TINY, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A family trained on the built-in passages, and what was printed."""
    folder = tmp_path_factory.mktemp("family")
    return folder, train("--output", folder).stdout


def test_models_differ_in_depth_alone_and_have_learned(family):
    folder, said = family
    models = [ls.load_model(folder / name) for name in ("depth-01", "depth-03")]
    assert [(model.depth, model.width, model.context) for model in models] == [(1, 16, 16), (3, 16, 16)]
    assert models[0].tokenizer.get_vocab() == models[1].tokenizer.get_vocab()
    assert len(models[0].tokenizer) == 300
    for name in ("depth-01", "depth-03"):
        record = json.loads((folder / name / "training.json").read_text())
        assert 3.0 < record["train"] < 5.6  # nats; guessing among 300 is 5.70
        assert record["held_out"] < 5.65
    assert "tokens to train on" in said
    assert said.count("held_out") == 2


def test_a_trained_model_is_not_trained_again_and_one_that_is_missing_is(family):
    folder, _ = family
    before = (folder / "depth-01" / "model.safetensors").stat().st_mtime_ns
    weights = (folder / "depth-03" / "model.safetensors").read_bytes()
    (folder / "depth-03").rename(folder / "depth-03.partial")  # as a kill leaves it
    said = train("--output", folder).stdout
    assert "depth-01: already trained" in said
    assert (folder / "depth-01" / "model.safetensors").stat().st_mtime_ns == before
    assert (folder / "depth-03" / "model.safetensors").read_bytes() == weights  # the seed makes the same model
    assert not (folder / "depth-03.partial").exists()


def test_other_settings_do_not_replace_a_model(family, tmp_path):
    folder, _ = family
    assert "was trained with other settings" in train("--output", folder, "--seed", 1, code=2).stderr
    (tmp_path / "short.txt").write_text("Too little.\n")
    assert "too few" in train("--text", tmp_path / "short.txt", "--output", tmp_path / "out", code=1).stderr


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_was_not_trained_here_is_never_replaced(tmp_path, kind):
    place = tmp_path / "depth-01"
    precious = place / "notes.txt" if kind == "folder" else place
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    error = train("--output", tmp_path, "--overwrite", code=2).stderr
    assert error == f"train_family: {place} is there and no model that was trained here: give another folder\n"
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--depths", "a,b"], "--depths 'a,b'"),
        (["--depths", "3,0"], "depths 0: must be 1 or more"),
        (["--width", "33"], "width 33: must be a multiple of 16"),
        (["--vocabulary", "5"], "vocabulary 5: must be 257 or more"),
        (["--steps", "0"], "steps 0: must be 1 or more"),
        (["--rate", "-1"], "rate -1.0: must be above 0"),
    ],
)
def test_numbers_of_which_no_model_can_be_made(tmp_path, arguments, said):
    assert said in train("--output", tmp_path, *arguments, code=2).stderr
    assert not list(tmp_path.iterdir())
