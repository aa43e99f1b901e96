"""Finished work is kept whole or not at all."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from layerscope.errors import FileError
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.journal_file import discard, read_journal


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"loss": np.array([value, np.nan, np.inf]), "flags": np.array([[True, False]])}


def test_what_was_added_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"seed": 1}) as journal:
        journal.add(0, 0, 0, arrays(0.1), {5: {"total": np.array([1.0, 2.0])}})
        journal.add(0, 0, 3, arrays(0.3), {})
        journal.add(0, 1, 0, arrays(0.2), {5: {"total": np.array([10.0, 20.0])}})
        journal.add(1, 0, 0, arrays(9.0), {5: {"total": np.array([7.0, 7.0])}})
    with Journal(path, {"seed": 2}) as journal:
        assert journal.settings == {"seed": 1}, "those it was begun with"
        assert journal.finished(0, 0) == {0, 3}
        assert journal.finished(0, 2) == set()
        found = list(journal.results(0, 0))
        assert [batch for batch, _ in found] == [0, 1]
        for (_, got), value in zip(found, (0.1, 0.2), strict=True):
            for name, expected in arrays(value).items():
                np.testing.assert_array_equal(got[name], expected)
        assert {node: sums["total"].tolist() for node, sums in journal.sums(0).items()} == {5: [11.0, 22.0]}


def test_a_node_adds_nothing_twice_for_one_batch(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", {}) as journal:
        for run in (0, 1):
            journal.add(0, 4, run, arrays(0.0), {2: {"total": np.array([1.0])}})
        assert journal.sums(0)[2]["total"].tolist() == [1.0]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {}), pytest.raises(FileError, match="is another sweep writing it"):
        Journal(path, {})
    path.with_name("journal-wal").write_bytes(b"of a killed one")
    discard(path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(FileError, match="start again with --overwrite"):
        Journal(path, {})
    discard(path)
    assert not path.exists()


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", {})
    journal.add(0, 0, 0, arrays(0.0), {})
    journal.remove()
    assert list(tmp_path.iterdir()) == []


CHANGES = {
    "batch": "UPDATE results SET batch = batch + 10",
    "batches in another order": "UPDATE results SET batch = 9 - batch WHERE run = 0",
    "run": "UPDATE results SET run = 7 WHERE run = 1",
    "task": "UPDATE results SET task = 1",
    "arrays": "UPDATE results SET arrays = (SELECT arrays FROM results WHERE run = 1) WHERE run = 0",
    "type of the arrays": "UPDATE results SET arrays = 3",
    "an entry less": "DELETE FROM results WHERE run = 1",
    "sums less": "DELETE FROM sums",
    "batch of sums": "UPDATE sums SET batch = 0",
    "an entry twice": "INSERT INTO results SELECT task, batch + 5, run, arrays, checksum FROM results WHERE run = 1",
    "settings": "UPDATE settings SET text = '{\"seed\": 2}'",
    "no settings": "DELETE FROM settings",
    "settings twice": "INSERT INTO settings SELECT * FROM settings",
    "total": "UPDATE settings SET total = '0'",
    "another table": "CREATE TABLE other (x)",
    "a trigger": "CREATE TRIGGER after AFTER INSERT ON results BEGIN DELETE FROM sums; END",
    "a table less": "DROP TABLE results",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_journal_that_was_changed_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"seed": 1}) as journal:
        for batch in (0, 1):
            journal.add(0, batch, 0, arrays(batch), {5: {"total": np.array([1.0])}})
        journal.add(0, 0, 1, arrays(7.0), {})
    with Journal(path, {}) as journal:
        assert journal.finished(0, 0) == {0, 1}, "as it was written it is sound"
    with closing(sqlite3.connect(path)) as database:
        database.execute(CHANGES[what])
        database.commit()
    for opener in (lambda: Journal(path, {"seed": 1}), lambda: read_journal(path)):
        with pytest.raises(FileError) as caught:
            opener()
        assert len(str(caught.value).splitlines()) <= 2
    discard(path)
    assert not path.exists()


def test_a_journal_of_a_version_without_checksums_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE settings (text TEXT NOT NULL)")
        database.execute("CREATE TABLE sums (task INTEGER, node INTEGER)")
        database.commit()
    with pytest.raises(FileError, match=r"without checksums\nstart again with --overwrite"):
        Journal(path, {})


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_devices_and_folders_are_no_journals(tmp_path: Path, make: object) -> None:
    path = tmp_path / "journal"
    make(path)  # type: ignore[operator]
    for opener in (lambda: Journal(path, {}), lambda: read_journal(path), lambda: discard(path)):
        with pytest.raises(FileError):
            opener()
