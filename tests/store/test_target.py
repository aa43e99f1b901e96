import multiprocessing
import re
from pathlib import Path

import pytest

from layerscope.errors import CaptureError, UsageError
from layerscope.store.target import CaptureTarget
from tests.store.processes import killed_holding


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_second_capture_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with CaptureTarget(path) as target:
        target.temporary.write_text("being laid out")
        with pytest.raises(CaptureError, match=rf"another capture is writing {path}\nwait for it"), CaptureTarget(path):
            pass
        link = tmp_path / "link.h5"
        link.symlink_to(path)
        with pytest.raises(CaptureError, match="another capture is writing"), CaptureTarget(link):
            pass
        with CaptureTarget(tmp_path / "other.h5"):
            pass
        assert target.temporary.read_text() == "being laid out"
    with CaptureTarget(path):
        pass
    assert names(tmp_path) == ["link.h5"]


def test_what_a_killed_capture_left_neither_blocks_nor_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    killed_holding(path)
    assert names(tmp_path) == [".run.h5.lock", ".run.h5.tmp"]
    with CaptureTarget(path) as target:
        assert not target.temporary.exists()
    assert names(tmp_path) == []


def hold_in_turn(path: Path, rounds: int, worst: "multiprocessing.Queue[int]") -> None:
    """Take the target as often as possible, checking that nobody else has it."""
    mark = path.with_name("mark")
    seen = 0
    while rounds:
        try:
            with CaptureTarget(path):
                mark.touch(exist_ok=False)
                mark.unlink()
                rounds -= 1
        except CaptureError:
            continue
        except FileExistsError:
            seen += 1
            rounds -= 1
    worst.put(seen)


def test_holders_that_come_and_go_never_overlap(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    worst = context.Queue()
    workers = [context.Process(target=hold_in_turn, args=(tmp_path / "run.h5", 300, worst)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [worst.get(timeout=60) for _ in workers] == [0, 0, 0]
    for worker in workers:
        worker.join()


def test_a_directory_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} is a directory")), CaptureTarget(tmp_path):
        pass


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "none" / "run.h5", "No such file"),
        (tmp_path / "file" / "run.h5", "Not a directory"),
    ):
        with pytest.raises(CaptureError, match=f"cannot write {path}: {reason}"), CaptureTarget(path):
            pass


def test_an_error_inside_gives_the_target_back(tmp_path: Path) -> None:
    def fail() -> None:
        with CaptureTarget(tmp_path / "run.h5") as target:
            target.temporary.touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == []
