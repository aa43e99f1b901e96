"""Measure the loss and the sink when a window of neighbouring blocks is skipped, reversed or run in parallel.

    python analyses/slide_window.py MODEL --size 7 --task builtin:cloze --limit 36 --output windows.nc
    python analyses/slide_window.py MODEL --size 7 --texts builtin:passages --limit 10 --output windows-largest.nc

The first command writes a sweep over every position of the window; the second the largest absolute value of any state.
"""

import argparse
from pathlib import Path

import xarray as xr

import layerscope as ls
from layerscope.errors import UsageError
from layerscope.results import write_result
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.outputs import new_file, writable
from layerscope.progress import progress
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from scripts import ended

CHANGES = {
    "skip": lambda blocks: [],
    "reverse": lambda blocks: [(block,) for block in reversed(blocks)],
    "parallel": lambda blocks: [tuple(blocks)],
}


def windows(depth: int, size: int) -> list[range]:
    """Return every range of `size` neighbouring blocks that excludes the first and the last block."""
    if not 1 <= size <= depth - 2:
        raise UsageError(f"--size {size}: must be from 1 to {depth - 2}, the blocks between the first and the last")
    return [range(first, first + size) for first in range(1, depth - size)]


def written_out(depth: int, blocks: range, change: str) -> str:
    """Return the schedule of a window as text.

    >>> written_out(6, range(2, 5), "reverse")
    '0-1 4-2 5'
    """
    before, after = ([(block,) for block in some] for some in (range(blocks.start), range(blocks.stop, depth)))
    return str(Schedule([*before, *CHANGES[change](blocks), *after]))


def largest(model: Model, size: int, texts: str, limit: int | None) -> xr.Dataset:
    """Return the largest absolute value of any state under each change of each window."""
    places = windows(model.depth, size)
    values = [[0.0] * len(CHANGES) for _ in places]
    with progress("measuring", total=len(places) * len(CHANGES), unit="schedules") as advance:
        for row, blocks in zip(values, places, strict=True):
            for column, change in enumerate(CHANGES):
                schedule = written_out(model.depth, blocks, change)
                states = ls.analyze_model(model, texts, measures=["max_abs"], limit=limit, schedule=schedule)
                row[column] = float(states.max_abs.max())
                advance(1)
    return xr.Dataset(
        {"largest": (("first", "change"), values)},
        coords={"first": [blocks.start for blocks in places], "change": list(CHANGES)},
        attrs={"model": model.name, "texts": texts, "num_blocks": model.depth, "size": size},
    )


def main() -> None:
    """Read the command line, measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--size", type=int, required=True)
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--task", action="append")
    of.add_argument("--texts")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--include-path", type=Path)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--output", required=True, type=Path, help="a .nc file; an existing sweep is resumed")
    parser.add_argument("--overwrite", action="store_true", help="with --texts: replace an existing file")
    options = parser.parse_args()
    inputs = options.model, options.texts
    target = (
        new_file(options.output, options.overwrite, *inputs) if options.texts else writable(options.output, *inputs)
    )
    model = load_model(options.model)
    if options.texts:
        table = largest(model, options.size, options.texts, options.limit)
        table.attrs["provenance"] = provenance(weights=model.fingerprint())
        write_result(table, target)
        return
    places = windows(model.depth, options.size)
    schedules = [written_out(model.depth, blocks, change) for blocks in places for change in CHANGES]
    given = {"limit": options.limit, "include_path": options.include_path, "bootstrap": options.bootstrap}
    ls.sweep(model, options.task, schedule=schedules, output=target, resume=True, **given)


if __name__ == "__main__":
    ended(main)
