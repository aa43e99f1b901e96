"""Finished work is kept whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from layerscope.errors import FileError
from layerscope.evaluation.journal import Journal, discard, first_difference


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
    with Journal(path, {}):
        with pytest.raises(FileError, match="is another sweep writing it"):
            Journal(path, {})
        with pytest.raises(FileError, match="another sweep is writing here"):
            discard(path)
    assert path.exists()
    discard(path)
    assert not path.exists()


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(FileError, match="begin anew with --overwrite"):
        Journal(path, {})
    discard(path)
    assert not path.exists()


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", {})
    journal.add(0, 0, 0, arrays(0.0), {})
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_differences_in_words() -> None:
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({"a": 1, "tasks": ["x", "y"]}, {"a": 1, "tasks": ["x"]}) == "tasks was x, y and is now x"
    assert first_difference({"a": None}, {"a": 3}) == "a was None and is now 3"
