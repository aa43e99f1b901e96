"""The forecast of a capture against the capture itself, and its operations against torch's count."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import layerscope as ls
from layerscope.errors import ModelError, UsageError
from layerscope.models import stored_model
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

HEADER = 100_000  # HDF5's metadata, attributes and provenance


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    tiny_module("llama").save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")
    lines = [" ".join(f"w{(n + k) % 20}" for k in range(1 + 7 * n % 11)) for n in range(40)]
    (folder / "some.txt").write_text("\n".join([*lines, ""]))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tokens": "sample:3", "store_dtype": "bfloat16"},
        {"layers": "0,2", "max_length": 5},
        {"schedule": "skip:0", "tokens": "mean"},
        {"streams": "resid,mlp", "final_norm": True},
    ],
)
@pytest.mark.filterwarnings("ignore:.*truncated")
def test_a_forecast_is_what_the_capture_reports(folder, tmp_path, options):
    path = tmp_path / "run.h5"
    need = ls.forecast(folder / "model", folder / "some.txt", path, **options)
    assert list(tmp_path.iterdir()) == []
    done = ls.capture(folder / "model", folder / "some.txt", path, **options)
    for name in ("sequences", "tokens", "rows", "truncated", "skipped"):
        assert getattr(need, name) == getattr(done, name), name
    size = path.stat().st_size
    assert size <= need.file_bytes <= size + HEADER
    assert sum(need.variable_bytes.values()) == need.file_bytes
    with ls.open_capture(path) as ds:
        states = [name for name in need.variable_bytes if name != "index and header"]
        assert all(need.variable_bytes[name] >= ds[name].size * ds[name].dtype.itemsize // 2 for name in states)
        assert {"hidden", "mlp_out", "final_norm"} & set(ds) == set(states)


def test_the_weights_are_not_read(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise ModelError("the weights are read")

    monkeypatch.setattr(stored_model, "_module", refuse)
    need = ls.forecast(folder / "model", folder / "some.txt")
    assert not need.weights_read
    values = sum(one.numel() for one in tiny_module("llama").parameters())
    assert need.model_bytes == pytest.approx(4 * values, rel=0.01)  # and a few buffers
    with pytest.raises(ModelError, match="the weights are read"):
        ls.forecast(folder / "model", folder / "some.txt", final_norm=True)


@pytest.mark.parametrize("layers", [None, "2"])
def test_operations_are_those_that_torch_counts(folder, layers):
    model = ls.load_model(folder / "model", attn="eager")  # torch does not count its fused attention on a processor
    ids = [list(range(3, 35)), list(range(5, 37))]
    need = ls.forecast(model, ids, layers=layers)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ls.capture(model, ids, sinks=[Ignored()], layers=layers)
    assert need.flops == pytest.approx(counter.get_total_flops(), rel=0.02)  # norms are parameters, not products


class Ignored:
    keeps_rows = False

    def update(self, rows):
        pass


def test_changes_are_what_their_options_give(folder):
    of = folder / "model", folder / "some.txt"
    changes = ls.forecast(*of).changes
    for name, options in {
        "--tokens last": {"tokens": "last"},
        "--store-dtype bfloat16": {"store_dtype": "bfloat16"},
        "--layers 2": {"layers": "2"},
    }.items():
        other = ls.forecast(*of, **options)
        assert changes[name] == {"rows": other.rows, "file_bytes": other.file_bytes, "flops": other.flops}
    assert changes["--layers 2"]["flops"] < changes["as given"]["flops"]
    assert changes["statistics only (no file)"]["file_bytes"] == 0


def test_learned_positions_are_read_from_the_weights(tmp_path):
    tiny_module("gpt2").save_pretrained(tmp_path / "model")
    word_tokenizer().save_pretrained(tmp_path / "model")
    assert ls.forecast(tmp_path / "model", ["w1 w2"]).weights_read


def test_dry_run_prints_the_forecast_and_writes_nothing(folder, tmp_path):
    command = ("capture", folder / "model", "--texts", folder / "some.txt", "--output", tmp_path / "run.h5")
    said = run(*command, "--dry-run").stdout
    facts = json.loads(run(*command, "--dry-run", "--json").stdout)
    assert list(tmp_path.iterdir()) == []
    assert f"rows                       {facts['rows']:,}" in said
    assert "--store-dtype bfloat16" in said
    assert "does not fit" not in said
    assert "give both" in run(*command, "--json", code=2).stderr
    assert "no state 99" in run(*command, "--dry-run", "--layers", "99", code=1).stderr


def test_generation_is_refused(folder):
    with pytest.raises(UsageError, match="leave it out"):
        ls.forecast(folder / "model", folder / "some.txt", generate=3)


def test_the_disk_that_is_asked_is_that_of_the_file(folder, tmp_path, monkeypatch):
    asked = []

    class Disk:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: asked.append(path) or Disk)
    need = ls.forecast(folder / "model", folder / "some.txt", tmp_path / "run.h5")
    assert (asked, need.free_bytes) == ([tmp_path], 1000)
    assert "does not fit" in str(need)
    with pytest.raises(UsageError, match="there is no folder"):
        ls.forecast(folder / "model", folder / "some.txt", tmp_path / "later" / "run.h5")


@pytest.mark.real
def test_the_forecast_of_a_real_model_is_that_of_its_weights(smollm2_path, smollm2):
    need = ls.forecast(smollm2_path, "builtin:passages", limit=5, store_dtype="bfloat16")
    loaded = ls.forecast(smollm2, "builtin:passages", limit=5, store_dtype="bfloat16")
    assert replace(need, weights_read=True, free_bytes=loaded.free_bytes) == loaded
    assert (need.weights_read, need.rows, need.variable_bytes["hidden"]) == (False, 219, 219 * 31 * 576 * 2)
    assert need.model_bytes == pytest.approx(4 * 134_515_008, rel=1e-4)
    assert need.flops == pytest.approx(2 * (134_515_008 - 49_152 * 576) * need.padded_tokens, rel=0.1)  # and attention
