"""``layerscope list``: the models, measures, schedule variants and tasks to choose from."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

__all__ = ["listing"]

Row = Mapping[str, str | int]

_PIPE_COLUMNS = 400


class What(StrEnum):
    """What can be listed."""

    models = "models"
    measures = "measures"
    variants = "variants"
    tasks = "tasks"


class Catalogue(NamedTuple):
    """The rows of one list.

    Attributes
    ----------
    details
        All that is known of each entry, its name first.
    columns
        What the table shows of each entry.
    """

    details: Callable[[], Sequence[Row]]
    columns: Callable[[], Sequence[Row]]


def listing(
    what: Annotated[What, typer.Argument(help="models, measures, variants or tasks.", metavar="WHAT")],
    name: Annotated[str | None, typer.Argument(help="One of them, to print all its details.", metavar="[NAME]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all details.")] = False,
) -> None:
    """List models, measures, schedule variants or tasks.

    Example: layerscope list measures

    With a name, all details of one of them are printed.

    Example: layerscope list measures cka
    """
    catalogue = _CATALOGUES[what]
    rows = catalogue.details()
    if name is not None:
        rows = [_row_named(name, rows, what)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif name is not None:
        _print_details(rows[0])
    else:
        _print_table(catalogue.columns())


def _row_named(name: str, rows: Sequence[Row], what: What) -> Row:
    from layerscope.errors import unknown_name

    by_name = {str(next(iter(row.values()))): row for row in rows}
    if name not in by_name:
        raise unknown_name(what.removesuffix("s"), name, by_name)
    return by_name[name]


def _print_details(row: Row) -> None:
    width = max(map(len, row))
    for label, value in row.items():
        typer.echo(f"{label:<{width}}  {value}".rstrip())


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0], box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # in a pipe, a row is one line of any length
        console = Console(highlight=False, markup=False, width=_PIPE_COLUMNS)
    console.print(table)


def _models() -> list[Row]:
    from layerscope.models.supported_families import supported_families

    return [entry.columns | {"reason": entry.reason} for entry in supported_families()]


def _model_columns() -> list[Row]:
    from layerscope.models.supported_families import supported_families

    return [entry.columns for entry in supported_families()]


def _measures() -> list[Row]:
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
            "cost class": measure.cost_class,
            "definition": measure.definition,
        }
        for measure in MEASURES.values()
    ]


def _measure_columns() -> list[Row]:
    from layerscope.measures.catalogue import MEASURES

    return [
        {
            "measure": measure.name,
            "what it measures": measure.what,
            "range": measure.range.replace("inf", "∞").replace("3.14159", "π").replace("1.5708", "π/2"),
            "cost": measure.cost_class,
        }
        for measure in MEASURES.values()
    ]


def _variants() -> list[Row]:
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


def _variant_columns() -> list[Row]:
    return [{name: row[name] for name in ("form", "figure", "summary")} for row in _variants()]


def _tasks() -> list[Row]:
    from layerscope.evaluation.tasks.builtin import TASKS

    return [
        {"task": name, "kind": task.kind, "examples": task.count, "summary": task.summary}
        for name, task in TASKS.items()
    ]


_CATALOGUES = {
    What.models: Catalogue(_models, _model_columns),
    What.measures: Catalogue(_measures, _measure_columns),
    What.variants: Catalogue(_variants, _variant_columns),
    What.tasks: Catalogue(_tasks, _tasks),
}
