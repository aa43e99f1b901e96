"""``layerscope evaluate``: a task's scores under a schedule."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="Hub id (owner/name, owner/name@revision), folder, or .gguf file.")],
    task: Annotated[str, typer.Option(help="builtin:NAME or lm-eval:NAME (see: layerscope list tasks).")],
    schedule: Annotated[str, typer.Option(help="What runs, such as skip:12 or '0-8 (9|10|11)*3 12-29'.")] = "identity",
    limit: Annotated[int | None, typer.Option(help="Maximum number of examples.")] = None,
    include_path: Annotated[Path | None, typer.Option(help="Folder of task definitions for lm-eval.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the scores to this .json file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    batch_tokens: Annotated[int, typer.Option(help="Maximum tokens of a batch, padding included.")] = 2048,
    dtype: Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:0, mps.")] = "cpu",
) -> None:
    """Score a model on a task under a layer schedule.

    Example: layerscope evaluate EleutherAI/pythia-70m --task builtin:cloze
    """
    import json

    import layerscope
    from layerscope.cli.target import write_text
    from layerscope.outputs import new_file

    target = None if output is None else new_file(output, overwrite, model)
    scores = layerscope.evaluate(
        model,
        task,
        schedule,
        limit=limit,
        include_path=include_path,
        batch_tokens=batch_tokens,
        dtype=dtype,
        device=device,
    )
    lines = [f"{scores['task']} under {scores['schedule']}, {scores['examples']} examples"]
    lines += [f"  {name:20} {value:.4f}" for name, value in scores["metrics"].items()]
    typer.echo(json.dumps(scores) if as_json else "\n".join(lines))
    if target is not None:  # last, so that a full disk does not lose the scores
        write_text(json.dumps(scores, indent=2) + "\n", target)
