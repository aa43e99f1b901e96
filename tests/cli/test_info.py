"""``layerscope info`` on everything that LayerScope writes, finished and not."""

import json
from pathlib import Path

import pytest
import xarray

from layerscope.evaluation.journal import Journal
from layerscope.evaluation.sweep import sweep
from layerscope.results import write_result
from tests.cli.test_commands import run
from tests.figures.sweeps import specs, synthetic
from tests.tokenizers import word_tokenizer


@pytest.fixture
def interrupted(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of one task that stopped after two runs."""
    added: list[int] = []
    add = Journal.add

    def stopping(self: Journal, *arguments: object) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(1)
        add(self, *arguments)

    monkeypatch.setattr(Journal, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny_folder, variants="skip,reverse", limit=2, output=tmp_path / "s.nc")
    monkeypatch.undo()
    return tmp_path


def test_of_a_journal_how_far_the_sweep_came_and_how_to_go_on(interrupted: Path) -> None:
    for name in ("s.nc.journal", "s.nc"):  # the file that is to be, too
        facts = json.loads(run("info", name, "--json", cwd=interrupted).stdout)
        assert (facts["file"], facts["kind"], facts["complete"]) == ("s.nc.journal", "journal of a sweep", False)
        assert facts["finished_batches"] == {"builtin:cloze": 2}
        assert facts["settings"]["limit"] == 2
        assert facts["go_on"] == "give layerscope sweep --resume with the same settings and --output s.nc"
    facts = json.loads(run("info", interrupted / "s.nc", "--json").stdout)
    assert facts["go_on"].endswith(f"--output {interrupted / 's.nc'}"), "the path as it was given"
    lines = run("info", "s.nc.journal", cwd=interrupted).stdout
    assert "settings.runs                   identity, skip:0, skip:1, reverse:0, reverse:1\n" in lines
    assert "finished_batches.builtin:cloze  2\n" in lines


def test_a_journal_can_be_read_while_nothing_is_lost(interrupted: Path, tiny_folder: Path) -> None:
    run("info", "s.nc.journal", cwd=interrupted)
    done = run(
        "sweep", tiny_folder, "--task", "builtin:cloze", "--variants", "skip,reverse", "--limit", 2, "--resume",
        "--output", "s.nc", cwd=interrupted,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "s.nc"
    again = ("sweep", tiny_folder, "--task", "builtin:cloze", "--variants", "skip,reverse", "--limit", 2, "--resume")
    with Journal(interrupted / "s.nc.journal", {}):  # as a kill between renaming and removing leaves it
        pass
    run(*again, "--output", "s.nc", cwd=interrupted)
    assert not (interrupted / "s.nc.journal").exists()


def test_a_journal_that_is_being_written_is_said_to_be(interrupted: Path) -> None:
    with Journal(interrupted / "s.nc.journal", {}):
        said = run("info", "s.nc.journal", cwd=interrupted, code=1).stderr
    assert said == "layerscope: s.nc.journal: a sweep is writing this journal: wait until it ends\n"


def test_another_database_is_no_journal(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE other (text TEXT)")
    said = run("info", "other.db", cwd=tmp_path, code=1).stderr
    assert "other.db is not the journal of a sweep" in said
    assert len(said.splitlines()) == 1


def test_of_a_sweep_its_sizes_and_settings_line_by_line(tmp_path: Path) -> None:
    swept = synthetic(specs(8, seeds=1), depth=8)
    swept.attrs = {"model": "tiny", "settings": json.dumps({"limit": 4, "runs": [f"skip:{n}" for n in range(20)]})}
    write_result(swept, tmp_path / "s.nc")
    lines = run("info", "s.nc", cwd=tmp_path).stdout.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert (facts["kind"], facts["complete"], facts["task"], facts["run"]) == (
        "sweep",
        "True",
        "4",
        str(swept.sizes["run"]),
    )
    assert facts["settings.limit"] == "4"
    assert facts["settings.runs"] == "skip:0, skip:1, skip:2, skip:3, skip:4, skip:5, skip:6, skip:7, … (20)"


def test_of_a_capture_begun_how_to_go_on(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerscope.capturing.capture import capture
    from layerscope.store.writer import CaptureWriter

    def stopping(self: CaptureWriter, rows: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CaptureWriter, "update", stopping)
    with pytest.raises(KeyboardInterrupt):
        capture(str(tiny_folder), ["w1 w2 w3"], tmp_path / "c.h5")
    facts = json.loads(run("info", "c.h5", "--json", cwd=tmp_path).stdout)
    assert (facts["kind"], facts["complete"], facts["committed_rows"], facts["token"]) == ("capture", False, 0, 3)
    assert facts["go_on"] == "give layerscope capture --resume with the same options"
    assert "provenance.command" in run("info", "c.h5", cwd=tmp_path).stdout


def test_of_a_capture_its_streams_and_variables(tiny_folder: Path, tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    tokenizer.save_pretrained(tiny_folder)
    texts = [{"messages": [{"role": "user", "content": "w1 w2"}], "author": "Ada"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    run(
        "capture", tiny_folder, "--texts", "texts.jsonl", "--chat", "--generate", 2, "--metadata", "author",
        "--token-strings", "--streams", "attn,mlp", "--layers", "1,3", "--output", "c.h5", cwd=tmp_path,
    )  # fmt: skip
    facts = json.loads(run("info", "c.h5", "--json", cwd=tmp_path).stdout)
    assert (facts["streams"], facts["layers"], facts["blocks"]) == ("attn, mlp", "none", "0,2")
    with xarray.open_dataset(tmp_path / "c.h5", engine="h5netcdf") as opened:
        assert facts["variables"].split(", ") == sorted(map(str, set(opened.variables) - set(opened.dims)))
    assert facts["metadata"] == "author"
    assert {"role", "generated", "token_string"} <= set(facts["variables"].split(", "))


def test_of_a_capture_of_the_residual_stream_alone(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("w1 w2")
    run("capture", tiny_folder, "--texts", "texts.txt", "--output", "c.h5", cwd=tmp_path)
    facts = json.loads(run("info", "c.h5", "--json", cwd=tmp_path).stdout)
    last = facts["layer"] - 1
    assert (facts["streams"], facts["layers"], facts["blocks"]) == ("resid", f"0-{last}", "none")
    assert facts["metadata"] == "none"
