"""Run one command line in a separate process with limits on memory and time, or kill it while it runs.

The process is forked from this one, which has imported everything, so it starts in milliseconds.
"""

import contextlib
import io
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from typing import IO, NamedTuple, NoReturn

import torch

from layerscope.cli import main

DONE, REFUSED, WRONG_USE, INTERRUPTED, KILLED = "done", "refused", "wrong use", "interrupted", "killed"
RIGHT = (DONE, REFUSED, WRONG_USE, INTERRUPTED)
"""Right outcomes of a command: exit codes 0, 1, 2 and 130, with at most two lines of errors."""

MEMORY = 4 * 2**30  # bytes of address space, in addition to that of this process
SECONDS = 60.0
_CODES = {0: DONE, 1: REFUSED, 2: WRONG_USE, 130: INTERRUPTED}


class Ending(NamedTuple):
    """The outcome of a command, its standard error, and its running time in seconds."""

    name: str
    said: str
    seconds: float


def run(*arguments: str, kill_after: float | None = None) -> Ending:
    """Run the command line in the current folder.

    Parameters
    ----------
    arguments
        The arguments after the program's name.
    kill_after
        Seconds after which to kill the process, as ``kill -9`` does.
    """
    with tempfile.TemporaryFile() as errors:
        begun = time.monotonic()
        process = os.fork()
        if process == 0:
            _become(arguments, errors)
        limit = SECONDS if kill_after is None else kill_after
        status, ended = _wait(process, limit)
        seconds = time.monotonic() - begun
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if not ended:
        return Ending("no end" if kill_after is None else KILLED, said, seconds)
    return Ending(_name(os.waitstatus_to_exitcode(status), said), said, seconds)


def warm(*arguments: str) -> None:
    """Run a command line in this process, so that later processes inherit its imports; it must succeed."""
    kept = sys.argv
    sys.argv = ["layerscope", *arguments]
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main()
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"{arguments}: exit code {stop.code}") from None
    finally:
        sys.argv = kept


def _wait(process: int, limit: float) -> tuple[int, bool]:
    """Return the status of a process, and whether it ended without a kill within the limit."""
    handle = os.pidfd_open(process)
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    ended = bool(waiting.poll(limit * 1000))
    if not ended:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(handle)
    with contextlib.suppress(ProcessLookupError):  # processes that it started and left running
        os.killpg(process, signal.SIGKILL)
    return status, ended


def _become(arguments: tuple[str, ...], errors: IO[bytes]) -> NoReturn:
    """Run the command in the forked process, and exit."""
    code: object = 99
    try:
        os.setsid()
        _limit_memory()
        torch.set_num_threads(1)  # torch's threads do not survive a fork
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream, target in enumerate((nowhere, nowhere, errors.fileno())):
            os.dup2(target, stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        warnings.simplefilter("default")
        sys.argv = ["layerscope", *arguments]
        main()
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 99)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as pages:
        taken = int(pages.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)


def _name(code: int, said: str) -> str:
    """Return the outcome for an exit code and the text on standard error, in which notes and warnings are no errors."""
    if code < 0:
        return f"crash ({signal.Signals(-code).name})"
    if "This is a fault of layerscope" in said:
        return "fault of layerscope"
    if "Traceback" in said or code not in _CODES:
        return "traceback"
    errors = [line for line in said.splitlines() if not line.startswith(("note: ", "warning: "))]
    return _CODES[code] if len(errors) <= 2 else "more than two lines"
