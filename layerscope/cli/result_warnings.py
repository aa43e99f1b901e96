"""Print the warnings that a result file has about its own numbers."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import xarray

__all__ = ["print_warnings", "warning_lines"]

_OF_FILES = ("massive_warning", "mean_warning")
_OF_VARIABLES = ("null_warning", "coverage_warning", "bootstrap_warning")


def print_warnings(result: "xarray.Dataset") -> None:
    """Print each warning of a result to standard error."""
    for line in warning_lines(result):
        typer.echo(f"warning: {line}", err=True)


def warning_lines(result: "xarray.Dataset") -> list[str]:
    """Return the warnings of a result, one line for each text, with the variables that it concerns."""
    lines = [str(result.attrs[attribute]) for attribute in _OF_FILES if result.attrs.get(attribute)]
    for attribute in _OF_VARIABLES:
        variables_by_text: dict[str, list[str]] = {}
        for name, array in result.data_vars.items():
            if attribute in array.attrs and not str(name).endswith(("_low", "_high", "_bootstrap")):
                variables_by_text.setdefault(str(array.attrs[attribute]), []).append(str(name))
        lines += [f"{', '.join(variables)}: {text}" for text, variables in variables_by_text.items()]
    return lines
