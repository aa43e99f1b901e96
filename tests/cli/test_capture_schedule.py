"""``layerscope capture --schedule``."""

import pytest
import xarray

from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schedule")
    tiny_module("llama").save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")
    (folder / "some.txt").write_text("w1 w2 w3\nw4 w5\n")
    return folder


@pytest.mark.parametrize("backend", ["hooks", "nnsight", "transformer-lens"])
def test_a_capture_under_a_schedule(folder, tmp_path, backend):
    path = tmp_path / "run.h5"
    run("capture", "model", "--texts", "some.txt", "--schedule", "looped_parallel:0:loops=2", "--backend", backend,
        "--output", path, cwd=folder)  # fmt: skip
    ds = xarray.open_dataset(path, engine="h5netcdf")
    assert ds.layer_name.values.tolist() == ["embedding", "0", "(1|2|3)", "(1|2|3)"]
    assert (ds.attrs["schedule"], ds.attrs["schedule_blocks"]) == ("looped_parallel:0:loops=2", "0 (1|2|3)*2")
    again = ("capture", "model", "--texts", "some.txt", "--output", path, "--resume", "--backend", backend)
    assert "nothing to do" in run(*again, "--schedule", "looped_parallel:0:loops=2", cwd=folder).stdout
    refused = run(*again, "--schedule", "skip:0", cwd=folder, code=1).stderr
    assert "stored with schedule 'looped_parallel:0:loops=2', got 'skip:0'" in refused.replace("\n", " ")


@pytest.mark.parametrize(
    ("schedule", "code", "said"),
    [
        ("skip", 2, "the start N is missing"),
        ("0-2 (1|2", 2, "column 9"),
        ("skip:2", 1, "4 blocks"),
        ("0-9", 1, "a model of 4 blocks has 0 to 3"),
    ],
)
def test_a_bad_schedule_leaves_nothing(folder, tmp_path, schedule, code, said):
    path = tmp_path / "run.h5"
    done = run(
        "capture", "model", "--texts", "some.txt", "--schedule", schedule, "--output", path, cwd=folder, code=code
    )
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_files_of_schedules_have_names_of_their_own(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path))
    for options in ((), ("--schedule", "skip:0"), ("--schedule", "0 (1|2)*2 3")):
        run("capture", "model", "--texts", "some.txt", *options, cwd=folder)
        run("analyze", "model", "--texts", "some.txt", "--measures", "norm", *options, cwd=folder)
    names = ["model--some", "model--some--0-1-2-2-3", "model--some--skip-0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        name + ending for name in names for ending in (".h5", ".nc")
    )
