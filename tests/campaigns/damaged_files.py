"""Damage files of every kind in every way, and run the commands that read them.

    python tests/campaigns/damaged_files.py --files 2000 --seed 0 --output wrong.jsonl

Wrong is: a fault, more than two lines, memory, time or a crash, and a resumed capture or sweep whose content differs from the
undisturbed one (``silent``). Flipped bytes of the states themselves have no checksum: there any end but a fault is right.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.campaigns import damages, hdf5_damages
from tests.campaigns.outcomes import Call, run_campaign

ORIGINALS, COMMANDS = "CAMPAIGN_ORIGINALS", "CAMPAIGN_COMMANDS"  # in the environment, which the workers share

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


def make_originals(folder: Path) -> None:
    """Write one small file of every kind, by the commands that make them."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from tests.families import tiny_module
    from tests.tokenizers import word_tokenizer

    os.chdir(folder)
    tiny_module("llama").save_pretrained("model")
    word_tokenizer().save_pretrained("model")
    Path("texts.txt").write_text(TEXTS)
    _run(*CAPTURE, "--output", "capture.h5")
    _run(*CAPTURE, "--output", "good.h5", "--limit", "8")
    _run("capture", "model", "--texts", "texts.txt", "--store-dtype", "bfloat16", "--output", "bfloat16.h5")
    _interrupted_capture("half.h5")
    options = ("--measures", "cosine,cka,norm,cosine_sequence", "--bootstrap", "8")
    _run("analyze", "capture.h5", *options, "--output", "analysis.nc")
    _run("analyze", "bfloat16.h5", *options, "--output", "good.nc")
    _run("analyze", "capture.h5", "good.h5", "--measures", "cka", "--bootstrap", "8", "--output", "match.nc")
    _run("training", "capture.h5", "good.h5", "--steps", "1,2", "--output", "training.nc")
    _run(*SWEEP, "--output", "sweep.nc")
    _interrupted_sweep("half.nc")
    _scaling()


def _run(*arguments: str) -> None:
    from tests.campaigns.outcomes import run_call

    ending, said = run_call(Call(arguments, "originals"))
    if ending != "ok":
        raise SystemExit(f"{' '.join(arguments)}: {said}")


def _scaling() -> None:
    import layerscope as ls
    from layerscope.results import write_result

    other = ls.open_analysis("good.nc").assign_attrs(model="other", parameters=10)
    write_result(other, "other.nc")
    _run("scaling", "analysis.nc", "other.nc", "--output", "scaling.nc")
    shutil.copy("other.nc", "good.nc")


class _StopAfter:
    """Stand in for a method: does it so many times, then interrupts."""

    def __init__(self, owner: type, name: str, times: int) -> None:
        self._owner, self._name, self._left, self._plain = owner, name, times, getattr(owner, name)

    def __enter__(self) -> None:
        def stopping(*arguments: object, **options: object) -> object:
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
            return self._plain(*arguments, **options)

        setattr(self._owner, self._name, stopping)

    def __exit__(self, *_: object) -> None:
        setattr(self._owner, self._name, self._plain)


def _interrupted_capture(name: str) -> None:
    from layerscope.capturing import capture as module
    from layerscope.store.writer import CaptureWriter
    from tests.campaigns.outcomes import run_call

    before, module._COMMIT_SECONDS = module._COMMIT_SECONDS, -1.0
    with _StopAfter(CaptureWriter, "update", 2):
        run_call(Call((*CAPTURE, "--output", name), "originals"))
    module._COMMIT_SECONDS = before


def _interrupted_sweep(name: str) -> None:
    from layerscope.evaluation.journal import Journal
    from tests.campaigns.outcomes import run_call

    with _StopAfter(Journal, "add", 5):
        run_call(Call((*SWEEP, "--output", name), "originals"))


def trial(number: int, seed: int, folder: Path) -> list[Call]:
    """Damage one file in one way, and return the commands that read it."""
    draw = random.Random(f"{seed}-{number}")
    originals = Path(os.environ[ORIGINALS])
    name = draw.choice(list(READ_BY))
    ways = damages.ANY | (damages.OF_SQLITE if name.endswith("journal") else hdf5_damages.OF_HDF5)
    way = draw.choice([*ways, *list(damages.OF_SQLITE) * 5] if name.endswith("journal") else list(ways))
    for each in ("model", "texts.txt", "good.h5", "good.nc"):
        (folder / each).symlink_to(originals / each)
    shutil.copy(originals / ("bfloat16.h5" if name == "capture.h5" and draw.random() < 0.3 else name), folder / name)
    try:
        ways[way](folder / name, draw)
    except Exception as error:  # not every way fits every file, such as a link to itself
        print(f"trial {number}: {name} {way} cannot be: {error}", file=sys.stderr)
        return []
    chosen = draw.sample(READ_BY[name], min(int(os.environ[COMMANDS]), len(READ_BY[name])))
    return [
        Call(
            tuple(name if part == "{}" else part for part in command),
            f"{name} {way}",
            _sound_after(name, command, originals),
        )
        for command in chosen
    ]


def _sound_after(name: str, command: tuple[str, ...], originals: Path) -> Callable[[], bool] | None:
    """Return what must hold after a command that succeeded: a resumed file equals the undisturbed one."""
    if "--resume" not in command:
        return None
    if name == "half.h5":
        return lambda: _same_capture(Path(name), originals / "capture.h5")
    if name == "half.nc.journal":
        return lambda: _same_sweep(Path("half.nc"), originals / "sweep.nc")
    return None


def _same_capture(path: Path, undisturbed: Path) -> bool:
    """Compare everything but the states, which have no checksum."""
    import layerscope as ls

    with ls.open_capture(path) as one, ls.open_capture(undisturbed) as other:
        same = all(one[name].equals(other[name]) for name in other.variables if name not in ("hidden", "final_norm"))
        attributes = {name for name in other.attrs if name != "provenance"}
        return same and all(one.attrs.get(name) == other.attrs[name] for name in attributes)


def _same_sweep(path: Path, undisturbed: Path) -> bool:
    import layerscope as ls

    one, other = (ls.open_sweep(each).drop_vars("seconds") for each in (path, undisturbed))
    return bool(one.broadcast_equals(other))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--commands", type=int, default=3, help="at most, of those that read a kind of file, drawn at random"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, help="a .jsonl of every ending that is wrong")
    parser.add_argument("--originals", type=Path, help="a folder to keep the undamaged files in (a temporary one)")
    return parser


def main() -> None:
    options = _parser().parse_args()
    here, output = Path.cwd(), options.output and options.output.absolute()
    with tempfile.TemporaryDirectory() as temporary:
        originals = (options.originals or Path(temporary)).absolute()
        if not (originals / "scaling.nc").exists():
            originals.mkdir(exist_ok=True)
            make_originals(originals)
        os.environ |= {ORIGINALS: str(originals), COMMANDS: str(options.commands)}
        os.chdir(here)
        run_campaign("tests.campaigns.damaged_files:trial", options.files, options.seed, options.workers, output)


if __name__ == "__main__":
    main()
