"""File systems without locks: the work continues, and one warning for each folder names the risk."""

import errno
import fcntl
import os
import sqlite3
from contextlib import closing

import h5py
import pytest

from layerscope.errors import CaptureError
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.journal_file import discard, read_journal
from layerscope.store.locking import connect, open_lockable
from layerscope.store.target import CaptureTarget

NO_LOCKS = ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")


def failing(name):
    def fail(*_):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return fail


@pytest.mark.parametrize("name", NO_LOCKS)
def test_a_target_without_a_lock_is_written_with_a_warning(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fcntl, "flock", failing(name))
    with pytest.warns(UserWarning, match=r": its file system has no locks .*no other process writes run\.h5"):
        target = CaptureTarget(tmp_path / "run.h5").__enter__()
    target.temporary.write_text("states")
    target.adopt()
    target.__exit__(None, None, None)
    assert sorted(os.listdir(tmp_path)) == ["run.h5"]


@pytest.mark.parametrize("name", ["EIO", "EACCES", "EBADF"])
def test_a_lock_that_fails_for_another_reason_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fcntl, "flock", failing(name))
    with pytest.raises(CaptureError, match="cannot write"):
        CaptureTarget(tmp_path / "run.h5").__enter__()


@pytest.mark.parametrize("name", NO_LOCKS)
def test_a_journal_without_locks_keeps_the_work(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fcntl, "lockf", failing(name))
    path = tmp_path / "sweep #1?.nc.journal"
    with pytest.warns(UserWarning, match="its file system has no locks"), Journal(path, {"tasks": ["a"]}) as journal:
        journal.add(0, 0, 3, {}, {})
    assert read_journal(path).finished == {"a": 1}  # a second warning would be an error
    discard(path)
    assert os.listdir(tmp_path) == []


def test_a_database_is_locked_where_locks_are(tmp_path):
    with closing(connect(tmp_path / "a.journal", isolation_level=None)) as first:
        first.execute("BEGIN IMMEDIATE")
        second = connect(tmp_path / "a.journal", timeout=0, isolation_level=None)
        with closing(second), pytest.raises(sqlite3.OperationalError, match="locked"):
            second.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize("name", NO_LOCKS)
def test_hdf5_opens_without_its_lock_where_there_is_none(tmp_path, monkeypatch, name):
    """As HDF5 answers: the number of the error in an OSError of its own."""
    original = h5py.File

    def without_locks(path, mode, locking=None, **options):
        if locking is not False:
            failing(name)()
        return original(path, mode, locking=locking, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    with open_lockable(tmp_path / "a.h5", "w") as file:
        file["x"] = [1, 2]
    with open_lockable(tmp_path / "a.h5", "r") as file:
        assert list(file["x"]) == [1, 2]
    with pytest.raises(FileNotFoundError):
        open_lockable(tmp_path / "none.h5", "r")
