"""``layerscope evaluate``: a task's scores under a schedule."""

from pathlib import Path
from typing import Annotated

import typer

from layerscope.cli.options import (
    BatchTokens,
    Device,
    DeviceMap,
    Dtype,
    IncludePath,
    Json,
    ModelSource,
    Overwrite,
    ScheduleSpec,
    Stack,
)

__all__ = ["evaluate"]


def evaluate(
    model: ModelSource,
    task: Annotated[str, typer.Option(help="builtin:NAME or lm-eval:NAME (see: layerscope list tasks).")],
    schedule: ScheduleSpec = "identity",
    limit: Annotated[int | None, typer.Option(help="Maximum number of examples.")] = None,
    include_path: IncludePath = None,
    output: Annotated[Path | None, typer.Option(help="Write the scores to this .json file.")] = None,
    as_json: Json = False,
    overwrite: Overwrite = False,
    batch_tokens: BatchTokens = 2048,
    dtype: Dtype = "float32",
    device: Device = None,
    device_map: DeviceMap = None,
    stack: Stack = None,
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
        device_map=device_map,
        stack=stack,  # type: ignore[arg-type]  # checked there
    )
    lines = [f"{scores['task']} under {scores['schedule']}, {scores['examples']} examples"]
    lines += [f"  {name:20} {value:.4f}" for name, value in scores["metrics"].items()]
    typer.echo(json.dumps(scores) if as_json else "\n".join(lines))
    if target is not None:  # last, so that a full disk does not lose the scores
        write_text(json.dumps(scores, indent=2) + "\n", target)
