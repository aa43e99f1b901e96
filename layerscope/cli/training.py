"""``layerscope training``: each layer over the checkpoints of a model's training."""

from pathlib import Path
from typing import Annotated

import typer

from layerscope.cli.options import Bootstrap, ExcludeFirst, Memory, Overwrite, Seed

__all__ = ["training"]


def training(
    captures: Annotated[list[Path], typer.Argument(help="Captures of at least two checkpoints, in any order.")],
    measure: Annotated[str, typer.Option(help="A measure of pairs of layers (see: layerscope list measures).")] = "cka",
    steps: Annotated[
        str | None, typer.Option(help="Training step of each capture, as in 0,512 (read from the models' names).")
    ] = None,
    exclude_first: ExcludeFirst = 0,
    bootstrap: Bootstrap = 0,
    memory: Memory = "4GB",
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Output file (training.nc next to the first capture).")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Follow each layer through the checkpoints of a training run.

    Give captures of several checkpoints on the same texts. The step is read from
    the model's name, such as @step1000, unless --steps gives it.

    Example: layerscope training step0.h5 step512.h5 --steps 0,512
    """
    from layerscope.cli.numbers import whole_numbers
    from layerscope.cli.result_warnings import print_warnings
    from layerscope.cross_model.training import over_training
    from layerscope.outputs import new_file
    from layerscope.results import write_result

    target = new_file(output or captures[0].parent / "training.nc", overwrite, *captures)
    result = over_training(
        captures,
        measure,
        steps=None if steps is None else whole_numbers("--steps", steps),
        exclude_first=exclude_first,
        bootstrap=bootstrap,
        memory=memory,
        seed=seed,
        progress=True,
    )
    write_result(result, target)
    print_warnings(result)
    typer.echo(
        f"{target}: {measure} of {result.sizes['layer']} layers at steps {', '.join(map(str, result['step'].values))}"
    )
