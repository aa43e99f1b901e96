"""Measure parallel with scaled updates, x + (c / M) · (sum of the updates of the M blocks), for every start and scale c.

c = 1 is `parallel`: the mean of outputs is the stream plus the mean update. c = M adds all updates in full. A scale changes
a block, which a schedule cannot do. So the script adds a torch hook to each block; LayerScope runs blocks with their hooks.

    python analyses/scale_updates.py MODEL --task builtin:cloze --limit 20 --output scaled.nc
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import xarray as xr

from layerscope import variants
from layerscope.evaluation.task_scoring import score_task
from layerscope.evaluation.example_scores import score_examples
from layerscope.evaluation.load_task import load_task
from layerscope.results import write_result
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.outputs import new_file
from layerscope.provenance import provenance
from scripts import ended

SCALES = (0.5, 1, 2, 3, 4, 6, 8, 12, 16, 20, 28)


@contextmanager
def scaled(model: Model, blocks: range, scale: float) -> Iterator[None]:
    """Scale the update that each of these blocks adds to the stream."""

    def hook(block, args, kwargs, output):
        before, after = model.stream.of_call(args, kwargs), model.stream.of_output(output)
        return model.stream.in_output(output, before + scale * (after - before))

    with ExitStack() as placed:
        for number in blocks:
            handle = model.blocks[number].register_forward_hook(hook, with_kwargs=True)
            placed.callback(handle.remove)
        yield


def scores(model: Model, task: str, limit: int | None, include_path: Path | None) -> xr.Dataset:
    """Return the loss of every example of a task under every start and scale."""
    tokenized = load_task(task, model, limit, include_path)
    starts = list(variants.starts(model.depth))
    loss = np.zeros((len(starts), len(SCALES), len(tokenized.items)))
    for row, start in enumerate(starts):
        schedule, blocks = variants.parallel(model.depth, start), variants.affected(model.depth, start)
        for column, scale in enumerate(SCALES):
            with scaled(model, blocks, scale):
                (answers,) = score_task(model, tokenized, [schedule])
            loss[row, column] = score_examples(tokenized, answers).loss
    full = score_examples(tokenized, score_task(model, tokenized, [variants.identity(model.depth)])[0]).loss
    return xr.Dataset(
        {
            "example_loss": (("start", "scale", "example"), loss),
            "full_example_loss": ("example", full),
            "affected": ("start", [len(variants.affected(model.depth, start)) for start in starts]),
        },
        coords={"start": starts, "scale": list(map(float, SCALES))},
        attrs={"model": model.name, "task": tokenized.name, "num_blocks": model.depth},
    )


def main() -> None:
    """Read the command line, measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--task", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--include-path", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    options = parser.parse_args()
    target = new_file(options.output, options.overwrite, options.model)
    model = load_model(options.model)
    table = scores(model, options.task, options.limit, options.include_path)
    table.attrs["provenance"] = provenance(weights=model.fingerprint())
    write_result(table, target)


if __name__ == "__main__":
    ended(main)
