"""Campaign: damage a file of any kind, and read it with one command.

A fault is a traceback, a crash, more than two lines of errors, an exceeded limit, or a resumed capture or sweep that differs from
the undisturbed one. States have no checksum, so flipped bytes there may change the result.
"""

import contextlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import layerscope as ls
from layerscope.capturing import capture as capturing
from layerscope.evaluation.journal import Journal
from layerscope.results import write_result
from layerscope.store.writer import CaptureWriter
from tests.campaigns import comparisons, damages, hdf5_damages, processes
from tests.campaigns.report import Trial, run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

RIGHT = processes.RIGHT
TEXTS = "\n".join(" ".join(f"w{(7 * line + word) % 90}" for word in range(12)) for line in range(8))
CAPTURE = ("capture", "model", "--texts", "texts.txt", "--batch-tokens", "24", "--spans", "--store-dtype", "float32")
SWEEP = (
    "sweep",
    "model",
    "--task",
    "builtin:cloze",
    "--variants",
    "skip,reverse",
    "--limit",
    "4",
    "--batch-tokens",
    "64",
    "--bootstrap",
    "20",
)

READ_BY: dict[str, list[tuple[str, ...]]] = {
    "capture.h5": [
        ("info", "{}"),
        ("info", "{}", "--json"),
        ("cite", "{}"),
        ("analyze", "{}", "--measures", "cosine,cka,norm", "--output", "out.nc"),
        ("analyze", "good.h5", "{}", "--measures", "cka", "--align", "spans", "--output", "out.nc"),
        ("training", "good.h5", "{}", "--steps", "1,2", "--output", "out.nc"),
        (*CAPTURE, "--output", "{}", "--resume"),
    ],
    "half.h5": [("info", "{}"), ("analyze", "{}", "--output", "out.nc"), (*CAPTURE, "--output", "{}", "--resume")],
    "analysis.nc": [
        ("info", "{}"),
        ("cite", "{}"),
        ("segment", "{}", "--json"),
        ("segment", "{}", "--measure", "cka"),
        ("plot", "{}", "--output", "out.svg"),
        ("plot", "{}", "--kind", "panel", "--output", "out.svg"),
        ("plot", "{}", "--kind", "profile", "--output", "out.svg"),
        ("scaling", "{}", "good.nc", "--output", "out.nc"),
    ],
    "match.nc": [("info", "{}"), ("cite", "{}"), ("plot", "{}", "--kind", "match", "--output", "out.svg")],
    "sweep.nc": [
        ("info", "{}"),
        ("cite", "{}"),
        ("plot", "{}", "--output", "out.svg"),
        ("plot", "{}", "--kind", "drift", "--output", "out.svg"),
        ("plot", "{}", "--kind", "stages", "--output", "out.svg"),
        ("plot", "{}", "--kind", "tasks", "--output", "out.svg"),
        (*SWEEP, "--output", "{}", "--resume"),
    ],
    "scaling.nc": [("info", "{}"), ("cite", "{}"), ("plot", "{}", "--output", "out.svg")],
    "training.nc": [("info", "{}"), ("cite", "{}"), ("plot", "{}", "--output", "out.svg")],
    "half.nc.journal": [("info", "{}"), ("info", "half.nc"), (*SWEEP, "--output", "half.nc", "--resume")],
}


def prepare() -> None:
    """Write one small file of every kind into the current folder, with the commands that make them."""
    tiny_module("llama").save_pretrained("model")
    word_tokenizer().save_pretrained("model")
    Path("texts.txt").write_text(TEXTS)
    processes.warm(*CAPTURE, "--output", "capture.h5")
    processes.warm(*CAPTURE, "--output", "good.h5", "--limit", "8")
    processes.warm("capture", "model", "--texts", "texts.txt", "--store-dtype", "bfloat16", "--output", "bfloat16.h5")
    options = ("--measures", "cosine,cka,norm,cosine_sequence", "--bootstrap", "8")
    processes.warm("analyze", "capture.h5", *options, "--output", "analysis.nc")
    processes.warm("analyze", "bfloat16.h5", *options, "--output", "good.nc")
    processes.warm("analyze", "capture.h5", "good.h5", "--measures", "cka", "--bootstrap", "8", "--output", "match.nc")
    processes.warm("training", "capture.h5", "good.h5", "--steps", "1,2", "--output", "training.nc")
    processes.warm(*SWEEP, "--output", "sweep.nc")
    write_result(ls.open_analysis("good.nc").assign_attrs(model="other", parameters=10), "other.nc")
    processes.warm("scaling", "analysis.nc", "other.nc", "--output", "scaling.nc")
    shutil.move("other.nc", "good.nc")
    _interrupted(CaptureWriter, "update", 2, (*CAPTURE, "--output", "half.h5"))
    _interrupted(Journal, "add", 5, (*SWEEP, "--output", "half.nc"))


def _interrupted(owner: type, method: str, times: int, command: tuple[str, ...]) -> None:
    """Run a command, and interrupt it at a call of a method after `times` calls."""
    plain, calls = getattr(owner, method), iter(range(times))

    def stopping(*arguments: object, **options: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    before = capturing._COMMIT_SECONDS
    setattr(owner, method, stopping)
    capturing._COMMIT_SECONDS = -1.0
    ending = processes.run(*command)
    setattr(owner, method, plain)
    capturing._COMMIT_SECONDS = before
    assert ending.name == processes.INTERRUPTED, ending


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Damage a file in one way, and run a command that reads it, `count` times."""
    prepare()
    done, number = 0, 0
    while done < count:
        trial = attempt(random.Random(f"{seed}-{number}"))
        number += 1
        if trial is not None:
            done += 1
            yield trial


def attempt(draw: random.Random) -> Trial | None:
    """Damage one file and read it; return None if the damage does not apply to the file."""
    name = draw.choice(list(READ_BY))
    ways = damages.ANY | (damages.OF_SQLITE if name.endswith("journal") else hdf5_damages.OF_HDF5)
    way = draw.choice([*ways, *list(damages.OF_SQLITE) * 5] if name.endswith("journal") else list(ways))
    source = "bfloat16.h5" if name == "capture.h5" and draw.random() < 0.3 else name
    command = tuple(name if part == "{}" else part for part in draw.choice(READ_BY[name]))
    originals = Path.cwd()
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        for each in ("model", "texts.txt", "good.h5", "good.nc"):
            Path(each).symlink_to(originals / each)
        shutil.copy(originals / source, name)
        try:
            ways[way](Path(name), draw)
        except Exception:  # not every damage applies to every file, such as a link to itself
            return None
        ending = processes.run(*command)
        sound = ending.name != processes.DONE or "--resume" not in command or _is_sound(name, originals)
        return Trial(
            name, ending.name if sound else "silently wrong", f"{way}: {' '.join(command)}: {ending.said[-400:]}"
        )


def _is_sound(name: str, originals: Path) -> bool:
    """Return whether a resumed file equals the undisturbed one."""
    if name == "half.h5":
        return comparisons.same_capture(Path(name), originals / "capture.h5", states=False)
    if name == "half.nc.journal":
        return comparisons.same_sweep(Path("half.nc"), originals / "sweep.nc")
    return True


if __name__ == "__main__":
    run("damaged files", RIGHT, trials, 2000)
