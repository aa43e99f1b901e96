"""Campaign: kill commands at random moments, and run them again.

A command is killed up to eight times in a row, each time after a random part of its undisturbed running time. After each kill, an
output that opens as complete must equal the undisturbed one. The last run is not killed: its result must equal the undisturbed
one, and no other file may be left in the folder or the cache.
"""

import contextlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from layerscope.capturing import capture as capturing
from layerscope.errors import LayerScopeError
from tests.campaigns import comparisons, processes
from tests.campaigns.report import Trial, run
from tests.families import tiny_module
from tests.models import gguf_files
from tests.tokenizers import word_tokenizer

RIGHT = ("as undisturbed",)
MOST_KILLS = 8  # in a row

CAPTURE = "capture model --texts texts.txt --batch-tokens 24 --spans --output out.h5"
ANALYSIS = "analyze run.h5 --measures cosine,cka,norm --bootstrap 8 --output out.nc"
SWEEP = "sweep model --task builtin:cloze --variants skip,reverse --limit 4 --batch-tokens 64 --bootstrap 20 --output out.nc"


class Work(NamedTuple):
    """A command to kill.

    Attributes
    ----------
    command
        The command line; its last word is the output.
    again
        The option that runs it again.
    same
        Returns whether two complete outputs have the same content.
    """

    command: str
    again: str
    same: Callable[[Path, Path], bool]

    @property
    def output(self) -> str:
        """The output file."""
        return self.command.split()[-1]


WORKS = {
    "capture": Work(CAPTURE, "--resume", comparisons.same_capture),
    "capture, a commit each batch": Work(CAPTURE, "--resume", comparisons.same_capture),
    "capture, started again": Work(CAPTURE, "--overwrite", comparisons.same_capture),
    "conversion of a GGUF file": Work(
        "capture model.gguf --texts letters.txt --output out.h5", "--overwrite", comparisons.same_capture
    ),
    "sweep": Work(SWEEP, "--resume", comparisons.same_sweep),
    "analysis": Work(ANALYSIS, "--overwrite", comparisons.same_analysis),
    "training": Work("training run.h5 run.h5 --steps 1,2 --output out.nc", "--overwrite", comparisons.same_training),
    "plot, svg": Work("plot run.nc --output out.svg", "--overwrite", comparisons.same_bytes),
    "plot, pdf": Work("plot run.nc --kind profile --output out.pdf", "--overwrite", comparisons.same_bytes),
    "plot, png": Work("plot run.nc --kind panel --output out.png", "--overwrite", comparisons.same_bytes),
}


def prepare() -> list[Path]:
    """Write the inputs into the current folder, and return them."""
    tiny_module("llama").save_pretrained("model")
    word_tokenizer().save_pretrained("model")
    gguf_files.write(Path("model.gguf"), gguf_files.model("llama"))
    lines = [" ".join(f"w{(7 * line + word) % 90}" for word in range(12)) for line in range(40)]
    Path("texts.txt").write_text("\n".join(lines))
    Path("letters.txt").write_text("a b ab\nb a\n")
    processes.warm(*CAPTURE.split()[:-1], "run.h5")
    processes.warm(*ANALYSIS.split()[:-1], "run.nc")
    return [path.absolute() for path in Path().iterdir()]


def undisturbed(name: str, inputs: list[Path]) -> float:
    """Run a command without a kill; return its running time in seconds."""
    command = WORKS[name].command.split()
    with tempfile.TemporaryDirectory() as parent, _at(Path(parent, "here"), inputs, name):
        processes.warm(*command)  # imports every module that it needs
    with _at(Path("undisturbed", name).absolute(), inputs, name):
        ending = processes.run(*command)
    assert ending.name == processes.DONE, ending
    return ending.seconds


@contextlib.contextmanager
def _at(folder: Path, inputs: list[Path], name: str) -> Iterator[None]:
    """Run the block in a new folder with links to the inputs and its own cache."""
    folder.mkdir(parents=True)
    for path in inputs:
        (folder / path.name).symlink_to(path)
    kept, capturing._COMMIT_SECONDS = capturing._COMMIT_SECONDS, -1.0 if "each batch" in name else 2.0
    try:
        with mock.patch.dict(os.environ, LAYERSCOPE_CACHE=str(folder / "cache")), contextlib.chdir(folder):
            yield
    finally:
        capturing._COMMIT_SECONDS = kept


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Kill commands until `count` were killed; a run that ended before its kill does not count."""
    draw, done, inputs = random.Random(seed), 0, prepare()
    seconds: dict[str, float] = {}
    while done < count:
        name = draw.choice(list(WORKS))
        if name not in seconds:
            seconds[name] = undisturbed(name, inputs)
        whole = Path("undisturbed", name).absolute()
        with tempfile.TemporaryDirectory() as parent, _at(Path(parent, "here"), inputs, name):
            delays = [draw.uniform(0, seconds[name]) for _ in range(draw.randint(1, min(MOST_KILLS, count - done)))]
            kills, ending, example = chain(WORKS[name], delays, whole)
        for _ in range(kills if ending in RIGHT else max(kills, 1)):
            yield Trial(name, ending, f"delays {delays} of {seconds[name]:.2f} s: {example}")
        done += kills


def chain(work: Work, delays: list[float], undisturbed: Path) -> tuple[int, str, str]:
    """Kill a command after each delay, then run it to its end; return the number of kills, the outcome and an example."""
    kills, command, whole = 0, work.command.split(), undisturbed / work.output
    for delay in delays:
        ending = processes.run(*command, kill_after=delay)
        command = [*work.command.split(), *work.again.split()]
        if ending.name not in (processes.KILLED, processes.DONE):
            return 1, f"{ending.name} before the kill", ending.said
        kills += ending.name == processes.KILLED
        if _half_reads_as_whole(work, whole):
            return kills, "half reads as whole", work.output
    ending = processes.run(*command)
    if ending.name != processes.DONE:
        return kills, f"run again: {ending.name}", ending.said
    if not work.same(Path(work.output), whole):
        return kills, "another result", work.output
    left = _files(Path()) ^ _files(undisturbed)
    return kills, "left behind" if left else RIGHT[0], ", ".join(map(str, sorted(left)))


def _half_reads_as_whole(work: Work, whole: Path) -> bool:
    """Return whether a killed command left an output that opens as complete but differs from the undisturbed one."""
    try:
        return Path(work.output).exists() and not work.same(Path(work.output), whole)
    except LayerScopeError:
        return False


def _files(folder: Path) -> set[Path]:
    """Return all files and folders below a folder, except links to inputs."""
    return {path.relative_to(folder) for path in folder.rglob("*") if not path.is_symlink()}


if __name__ == "__main__":
    run("kills", RIGHT, trials, 1000)
