"""``layerscope generate``: text from a model under a schedule."""

from typing import Annotated

import typer

__all__ = ["generate"]


def generate(
    model: Annotated[str, typer.Argument(help="Hub id (owner/name, owner/name@revision), folder, or .gguf file.")],
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    schedule: Annotated[
        str, typer.Option(help="Layer schedule, such as skip:12 or '0-8 (9|10|11)*3 12-29'.")
    ] = "identity",
    max_new_tokens: Annotated[int, typer.Option(help="Maximum number of new tokens.")] = 40,
    temperature: Annotated[float, typer.Option(help="0: most likely token; above 0: sample.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Random seed for sampling.")] = 0,
    stacked: Annotated[
        bool,
        typer.Option("--stacked", help="Run parallel blocks as one batched call: faster, equal up to rounding."),
    ] = False,
    dtype: Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="Device: cpu, cuda, cuda:0 or mps.")] = "cpu",
) -> None:
    """Generate text under a layer schedule.

    Example: layerscope generate EleutherAI/pythia-70m "Hello" --schedule skip:2
    """
    arguments = locals()
    from layerscope.execution.generation import generate as run

    typer.echo(prompt + run(**arguments))
