"""Run the command line many times in worker processes, and count how each call ends.

A worker has a limit on its memory and a clock; a call that crashes or hangs takes its worker with it, and another one takes
over. Campaigns give a function that makes the calls of one trial from its number; everything else is here.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

MEMORY = 4 * 2**30  # of address space, beyond what a worker has when it begins
SECONDS = 60  # a call may take
PRELOADED = ("transformers", "xarray", "layerscope.figures", "layerscope.evaluation.sweep", "layerscope.cli")

OK, REFUSED = "ok", "refused"
WRONG = FAULT, LINES, MEMORY_OUT, TIME, CRASH, SILENT = "fault", "lines", "memory", "time", "crash", "silent"


@dataclass(frozen=True)
class Call:
    """One command line, run in a folder.

    Attributes
    ----------
    arguments
        After the program's name.
    about
        What is tried, in a word: calls are counted by it.
    is_sound
        Asked after a call that succeeded: whether its result is right. If not, something wrong was taken silently.
    """

    arguments: tuple[str, ...]
    about: str
    is_sound: Callable[[], bool] | None = None


Trial = Callable[[int, Path], list[Call]]


def run_campaign(trial: str, count: int, seed: int, workers: int, output: Path | None) -> Counter[str]:
    """Run trials ``0 … count - 1`` and print the counts.

    Parameters
    ----------
    trial
        ``module:function``, which takes (number, seed, folder), prepares the folder and returns the calls.
    count, seed, workers
        How many trials, from which seed, in how many processes at once.
    output
        Where every ending that is wrong is written, one JSON object a line.
    """
    total: Counter[str] = Counter()
    by_subject: dict[str, Counter[str]] = defaultdict(Counter)
    with output.open("w") if output else contextlib.nullcontext() as kept:
        for record in _endings(trial, count, seed, workers):
            total[record["ending"]] += 1
            by_subject[record["about"]][record["ending"]] += 1
            if kept and record["ending"] in WRONG:
                kept.write(json.dumps(record) + "\n")
                kept.flush()
    for about, counts in sorted(by_subject.items()):
        print(f"{about:<40} " + "  ".join(f"{ending} {number}" for ending, number in sorted(counts.items())))
    print("all: " + ", ".join(f"{ending} {number}" for ending, number in total.most_common()))
    return total


def _endings(trial: str, count: int, seed: int, workers: int) -> Iterator[dict]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([trial.partition(":")[0], *PRELOADED])
    todo = iter(range(count))
    busy: dict[Connection, tuple] = {}

    def start(first: int | None = None, skip: int = 0) -> None:
        number = next(todo, None) if first is None else first
        if number is None:
            return
        mine, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, trial, seed))
        process.start()
        theirs.close()
        mine.send((number, skip))
        busy[mine] = (process, number, skip)

    for _ in range(workers):
        start()
    while busy:
        for connection in wait(list(busy)):
            process, number, done = busy[connection]
            try:
                record = connection.recv()
            except EOFError:  # the worker died: what it was doing is the call after the last one it reported
                process.join()
                del busy[connection]
                ending = TIME if process.exitcode == -signal.SIGALRM else CRASH
                about = json.loads(Path(_note_of(process.pid)).read_text() or "{}")
                Path(_note_of(process.pid)).unlink(missing_ok=True)
                yield {"ending": ending, "trial": number, "said": f"exit code {process.exitcode}", **about}
                start(number, done + 1)
                continue
            if record is None:
                following = next(todo, None)
                if following is None:
                    connection.send(None)
                    process.join()
                    del busy[connection]
                else:
                    connection.send((following, 0))
                    busy[connection] = (process, following, 0)
            else:
                busy[connection] = (process, number, done + 1)
                yield record


def _note_of(process: int) -> str:
    return f"{tempfile.gettempdir()}/campaign-{os.getuid()}-{process}.json"


def _work(connection: Connection, trial: str, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, name = trial.partition(":")
    prepare = getattr(importlib.import_module(module), name)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    note = Path(_note_of(os.getpid()))
    note.write_text("")
    while (work := connection.recv()) is not None:
        number, skip = work
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for call in prepare(number, seed, Path(folder))[skip:]:
                note.write_text(json.dumps({"about": call.about, "arguments": call.arguments}))
                signal.alarm(SECONDS)  # its default action ends the process, also within a library
                ending, said = run_call(call)
                signal.alarm(0)
                connection.send(
                    {"ending": ending, "about": call.about, "trial": number, "arguments": call.arguments, "said": said}
                )
        connection.send(None)
    note.unlink(missing_ok=True)


def run_call(call: Call) -> tuple[str, str]:
    """Run one call in this process; return how it ended and what it said on standard error."""
    from layerscope.cli import main

    before, said = sys.argv, io.StringIO()
    sys.argv = ["layerscope", *call.arguments]
    code: object = 0
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")), contextlib.redirect_stderr(said):
            main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        return FAULT, traceback.format_exc()[-2000:]
    finally:
        sys.argv = before
    ending = ending_of(code, said.getvalue())
    if ending == OK and call.is_sound is not None:
        try:
            return (OK if call.is_sound() else SILENT), said.getvalue()
        except Exception:  # a result that cannot even be read is as wrong
            return SILENT, traceback.format_exc()[-2000:]
    return ending, said.getvalue()[-2000:]


def ending_of(code: object, said: str) -> str:
    """Name an ending by the exit code and the words on standard error; notes and bars count for nothing."""
    errors = said.partition("layerscope: ")[2].strip().splitlines()
    if "MemoryError" in said:
        return MEMORY_OUT
    if "This is a fault of layerscope" in said or "Traceback" in said or code not in (0, 1, 2, None):
        return FAULT
    if code in (0, None):
        return OK
    return REFUSED if 1 <= len(errors) <= 2 else LINES
