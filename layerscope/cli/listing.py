"""``layerscope list``: what there is to choose from."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["listing"]


class Catalogue(StrEnum):
    """What can be listed."""

    models = "models"
    measures = "measures"
    variants = "variants"
    tasks = "tasks"


def listing(
    what: Annotated[Catalogue, typer.Argument(help="models, measures, variants or tasks.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models, measures, schedule variants or tasks.

    Example: layerscope list measures
    """
    catalogues: dict[Catalogue, Callable[[], Sequence[Mapping[str, str | int]]]] = {
        Catalogue.models: _models,
        Catalogue.measures: _measures,
        Catalogue.variants: _variants,
        Catalogue.tasks: _tasks,
    }
    rows = catalogues[what]()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    widths = [max(len(str(row[column])) for row in rows) for column in rows[0]]
    widths = [max(width, len(column)) for width, column in zip(widths, rows[0], strict=True)]
    for line in ([*rows[0]], *([str(cell) for cell in row.values()] for row in rows)):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _models() -> list[dict[str, str]]:
    from layerscope.capturing.backends import BACKENDS
    from layerscope.models.architectures import ARCHITECTURES

    return [
        {"family": family, "kind": "decoder" if row.causal else "encoder"}
        | {backend.name: "yes" if family in backend.families else "no" for backend in BACKENDS.values()}
        for family, row in ARCHITECTURES.items()
    ]


def _measures() -> list[dict[str, str | int]]:
    from layerscope.measures.catalogue import MEASURES
    from layerscope.measures.record import Kind

    return [
        {
            "measure": measure.name,
            "kind": measure.kind,
            "range": str(measure.range),
            "invariant to": ", ".join(sorted(law.value for law in measure.invariances)) or "nothing",
            "symmetric": ("yes" if measure.symmetric else "no") if measure.kind is Kind.PAIRWISE else "",
            "fewest tokens": measure.least_tokens,
            "tokens ≤ features": "refused" if measure.needs_more_tokens_than_features else "taken",
            "passes": str(measure.passes),
            "reference": measure.reference,
            "cost": measure.cost,
        }
        for measure in MEASURES.values()
    ]


def _variants() -> list[dict[str, str]]:
    from layerscope.schedules.variant import VARIANTS

    place = {"nothing": "", "start": "N: affects N+1 to T-N-1", "block": "I: a block", "range": "A-B: blocks A to B"}
    return [
        {
            "variant": name,
            "form": variant.form,
            "place": place[variant.place],
            "figure": variant.figure,
            "summary": variant.summary.replace("`", ""),  # docstring marks mean nothing on a terminal
        }
        for name, variant in VARIANTS.items()
    ]


def _tasks() -> list[dict[str, str | int]]:
    from layerscope.evaluation.tasks.builtin import TASKS

    return [
        {"task": name, "kind": task.kind, "examples": task.count, "summary": task.summary}
        for name, task in TASKS.items()
    ]
