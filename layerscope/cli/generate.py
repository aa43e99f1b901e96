"""``layerscope generate``: text from a model under a schedule."""

from typing import Annotated

import typer

__all__ = ["generate"]


def generate(
    model: Annotated[str, typer.Argument(help="Hub id (owner/name, owner/name@revision), folder, or .gguf file.")],
    prompt: Annotated[str, typer.Argument(help="The text to go on with.")],
    schedule: Annotated[str, typer.Option(help="What runs, such as skip:12 or '0-8 (9|10|11)*3 12-29'.")] = "identity",
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens.")] = 40,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token; above, tokens are drawn.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    stacked: Annotated[
        bool,
        typer.Option("--stacked", help="Run the blocks of a parallel stage as one call: faster, rounded otherwise."),
    ] = False,
    dtype: Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:0, mps.")] = "cpu",
) -> None:
    """Generate text under a layer schedule.

    Example: layerscope generate EleutherAI/pythia-70m "Hello" --schedule skip:2
    """
    from layerscope.execution.generation import generate as run

    text = run(
        model,
        prompt,
        schedule,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        stacked=stacked,
        dtype=dtype,
        device=device,
    )
    typer.echo(prompt + text)
