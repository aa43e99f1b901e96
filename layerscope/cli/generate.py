"""``layerscope generate``: text from a model under a schedule."""

from typing import Annotated

import typer

from layerscope.cli.options import Device, DeviceMap, Dtype, ModelSource, ScheduleSpec, Stack

__all__ = ["generate"]


def generate(
    model: ModelSource,
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    schedule: ScheduleSpec = "identity",
    max_new_tokens: Annotated[int, typer.Option(help="Maximum number of new tokens.")] = 40,
    temperature: Annotated[float, typer.Option(help="0: most likely token; above 0: sample.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Random seed for sampling.")] = 0,
    stacked: Annotated[
        bool,
        typer.Option("--stacked", help="Run parallel blocks as one batched call: faster, equal up to rounding."),
    ] = False,
    dtype: Dtype = "float32",
    device: Device = None,
    device_map: DeviceMap = None,
    stack: Stack = None,
) -> None:
    """Generate text under a layer schedule.

    Example: layerscope generate EleutherAI/pythia-70m "Hello" --schedule skip:2
    """
    arguments = locals()
    from layerscope.execution.generation import generate as run

    typer.echo(prompt + run(**arguments))
