"""A disk that is full: a limit on the file size stands in for it, since writing past it fails just as late and as suddenly."""

import subprocess
import sys
from pathlib import Path

from layerscope.store.header import read_header
from tests.store.processes import LENGTHS, capture

HALFWAY = """
import resource, sys
from pathlib import Path
from layerscope.errors import CaptureError
from layerscope.store import writer
from tests.store.processes import capture

path, share = Path(sys.argv[1]), float(sys.argv[2])
create = writer.CaptureWriter.create

def create_then_fill_the_disk(*arguments):
    made = create(*arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * path.stat().st_size),) * 2)
    return made

if share:
    writer.CaptureWriter.create = create_then_fill_the_disk
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)
try:
    capture(path)
except CaptureError as error:
    print(error)
"""


def run_on_a_full_disk(path: Path, share: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HALFWAY, path, str(share)], capture_output=True, text=True, timeout=120
    )


def test_a_disk_that_fills_up_while_rows_are_written(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    done = run_on_a_full_disk(path, 0.5)
    assert done.stdout == f"cannot write {path}: File too large\nfree some disk, and continue with --resume\n"
    assert (done.stderr, done.returncode) == ("", 0), "nothing more to say when closing or leaving"
    header = read_header(path)
    assert not header.complete
    capture(path)
    assert read_header(path).committed_rows == sum(LENGTHS)


def test_a_disk_that_is_full_from_the_start_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    done = run_on_a_full_disk(path, 0)
    assert done.stdout == f"cannot write {path}: File too large\nfree some disk, and continue with --resume\n"
    assert (done.stderr, done.returncode) == ("", 0)
    assert not list(tmp_path.iterdir())
