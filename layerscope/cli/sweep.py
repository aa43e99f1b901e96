"""``layerscope sweep``: many schedules over some tasks, and how far each drifts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerscope.cli.options import BatchTokens, Device, DeviceMap, Dtype, IncludePath, ModelSource, Overwrite, Stack

if TYPE_CHECKING:
    import xarray

__all__ = ["sweep"]


def sweep(
    model: ModelSource,
    task: Annotated[list[str], typer.Option(help="builtin:NAME or lm-eval:NAME; may be given several times.")],
    variants: Annotated[
        str | None, typer.Option(help="all, or names: skip,reverse,drop,swap (all, unless --schedule is given).")
    ] = None,
    schedule: Annotated[list[str] | None, typer.Option(help="One more schedule; may be given several times.")] = None,
    starts: Annotated[str, typer.Option(help="Starts N: all legal ones, or 8,12.")] = "all",
    seeds: Annotated[int, typer.Option(help="Number of shuffles of random.")] = 10,
    loops: Annotated[str, typer.Option(help="Loops of looped_parallel: 3, or 1-28.")] = "3",
    limit: Annotated[int | None, typer.Option(help="Maximum number of examples of each task.")] = None,
    include_path: IncludePath = None,
    output: Annotated[Path | None, typer.Option(help="The sweep file (cache/MODEL--TASKS-sweep.nc).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted sweep.")] = False,
    overwrite: Overwrite = False,
    bootstrap: Annotated[int, typer.Option(help="Replicates over examples, for 95 % intervals; 0 for none.")] = 1000,
    latency: Annotated[bool, typer.Option("--latency", help="Also time full, skip and parallel runs alone.")] = False,
    latency_tokens: Annotated[int, typer.Option(help="Tokens of the timed sequence; 1: as in generation.")] = 64,
    chance: Annotated[
        list[str] | None,
        typer.Option(help="TASK=ACCURACY of guessing, where the data do not give it; may be repeated."),
    ] = None,
    batch_tokens: BatchTokens = 2048,
    fuse: Annotated[int, typer.Option(help="Run the same next blocks of N schedules as one batch.")] = 1,
    seed: Annotated[int, typer.Option(help="Random seed of the bootstrap.")] = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    device_map: DeviceMap = None,
    stack: Stack = None,
) -> None:
    """Score a model and its drift under many layer schedules.

    An interrupted sweep continues with --resume.

    Example: layerscope sweep EleutherAI/pythia-70m --task builtin:cloze
    """
    arguments = locals()
    import layerscope
    from layerscope.cli.numbers import scores_by_name
    from layerscope.cli.result_warnings import print_warnings
    from layerscope.cli.target import default_file

    target = output or default_file(model, f"{'-'.join(name.split(':')[-1] for name in task)}-sweep.nc")
    done = resume and target.exists()
    result = layerscope.sweep(
        **arguments | {"output": target, "schedule": schedule or [], "chance": scores_by_name(chance or [])}
    )
    print_warnings(result)
    lines = [f"{target}: complete already, nothing to do"] if done else [*_summary(result), str(target)]
    for line in lines:
        typer.echo(line)


def _summary(result: "xarray.Dataset") -> list[str]:
    """Return two lines per task: scores of the full model, and rank correlations of drift with loss."""
    lines = []
    for task in result.task.values:
        one = result.sel(task=task)
        full = one.isel(run=0)
        lines.append(
            f"{task}: {int(one.examples)} examples, {result.sizes['run']} runs; "
            f"full model loss {float(full.loss):.3f}, accuracy {float(full.accuracy):.3f}"
        )
        found = ", ".join(
            f"{name} {float(value):.2f}"
            for name, value in zip(one.drift.values, one.rank_correlation.values, strict=True)
        )
        lines.append(f"  rank correlation with loss over runs, the full model among them: {found}")
    return lines
