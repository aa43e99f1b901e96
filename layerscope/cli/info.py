"""``layerscope info``: what a file is and holds."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

_EXAMPLE = """
Say what a capture, analysis, sweep or training file holds, and whether it is whole.

Example: layerscope info run.h5
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("info", help=_EXAMPLE)(info)


def info(
    file: Annotated[Path, typer.Argument(help="A capture, an analysis, a sweep or what training made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Parse, call, print."""
    facts = _results(file) if file.suffix == ".nc" else _capture(file)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


def _capture(path: Path) -> dict[str, Any]:
    from layerscope.store.header import read_header

    header = read_header(path)
    layers = header.layout.layer
    return {
        "file": str(path),
        "kind": "capture",
        "complete": header.complete,
        "committed_rows": header.committed_rows,
        **header.sizes,
        "layers": f"{layers[0]}-{layers[-1]}"
        if len(layers) == layers[-1] - layers[0] + 1
        else ",".join(map(str, layers)),
        "store_dtype": str(header.layout.store_dtype).removeprefix("torch."),
        "final_norm": header.layout.final_norm,
        "bytes": header.file_bytes,
        **{name: value for name, value in header.attributes.items() if name != "complete"},
    }


def _results(path: Path) -> dict[str, Any]:
    from layerscope.evaluation.sweep_file import holds_a_sweep, read_sweep
    from layerscope.measures.files import read_analysis
    from layerscope.store.schema import plain_attributes
    from layerscope.structure.scaling_file import holds_a_scaling, read_scaling
    from layerscope.structure.training import holds_a_training, read_training

    kinds = {
        "sweep": (holds_a_sweep, read_sweep),
        "training": (holds_a_training, read_training),
        "scaling": (holds_a_scaling, read_scaling),
    }
    kind = next((name for name, (holds_one, _) in kinds.items() if holds_one(path)), "analysis")
    read = kinds[kind][1] if kind in kinds else read_analysis
    result = read(path)
    return {
        "file": str(path),
        "kind": kind,
        **{str(name): size for name, size in result.sizes.items()},
        "variables": ", ".join(map(str, result.data_vars)),
        **plain_attributes({str(name): value for name, value in result.attrs.items()}),
    }
