"""Generate a model's free answers to the questions of `builtin:arithmetic` under several schedules.

python analyses/write_sums.py MODEL --limit 48 --output sums.json
"""

import argparse
import json
from pathlib import Path

import layerscope as ls
from layerscope.evaluation.tasks.builtin import builtin_task
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.cli.target import write_text
from layerscope.outputs import new_file
from layerscope.progress import progress
from scripts import ended

LAST_STARTS = 7


def schedules(depth: int) -> list[str]:
    """Return the full model, and parallel, looped parallel and skip from the latest starts, where the model still works."""
    starts = list(ls.variants.starts(depth))[-LAST_STARTS:]
    return ["identity", *(f"{name}:{start}" for name in ("parallel", "looped_parallel", "skip") for start in starts)]


def answers(model: Model, limit: int | None) -> list[dict[str, object]]:
    """Return the model's answer to each question, at most one line, with the right answer."""
    examples, written = builtin_task("builtin:arithmetic", limit).examples, []
    specs = schedules(model.depth)
    with progress("writing", total=len(specs) * len(examples), unit="answers") as advance:
        for spec in specs:
            for example in examples:
                text = ls.generate(model, example.context, spec, max_new_tokens=5)
                question = example.context.splitlines()[-1]
                right = example.choices[example.gold].strip()
                facts = {"schedule": spec, "id": example.id, "question": question, "right": right}
                written.append({**facts, "written": text.split("\n")[0]})
                advance(1)
    return written


def main() -> None:
    """Read the command line, generate, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    options = parser.parse_args()
    target = new_file(options.output, options.overwrite, options.model)
    model = load_model(options.model)
    record = {"model": model.name, "task": "builtin:arithmetic", "answers": answers(model, options.limit)}
    write_text(json.dumps(record, indent=1) + "\n", target)


if __name__ == "__main__":
    ended(main)
