"""Write the page of commands from the command line itself: usage, arguments and options of each."""

from collections.abc import Sequence
from typing import Any

import typer

from layerscope.cli import COMMANDS, app

__all__ = ["commands_page", "table"]

_EXAMPLE = "Example: "
_HELP = "--help"
_HEADER = ("meaning", "default")


def commands_page() -> str:
    """Return the page of commands."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = [
        "# Commands",
        "Every command with its arguments and options. `layerscope COMMAND --help` prints the same. The last "
        "column is the default of an option; where it is empty, the meaning names the default.",
        "Exit codes: 0 done, 1 failed on the data or the model, 2 wrong use, 130 interrupted. `--debug` anywhere on the line "
        "adds the traceback of an error.",
    ]
    for group, members in COMMANDS.items():
        parts.append(f"## {group}")
        parts += [_command(name, commands[name]) for name in members]
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in command.help.split("\n\n")]
    words = [paragraph for paragraph in paragraphs if not paragraph.startswith(_EXAMPLE)]
    examples = [paragraph.removeprefix(_EXAMPLE) for paragraph in paragraphs if paragraph.startswith(_EXAMPLE)]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and _HELP not in parameter.opts
    ]
    usage = " ".join(["layerscope", name, *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"### {name}", *words, _fence("text", [usage]), _fence("bash", examples)]
    if arguments:
        parts.append(table(["argument", *_HEADER], [[f"`{_metavar(one)}`", one.help or "", ""] for one in arguments]))
    if options:
        parts.append(
            table(["option", *_HEADER], [[f"`{one.opts[0]}`", one.help or "", _default(one)] for one in options])
        )
    return "\n\n".join(parts)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name).strip("[]").upper()


def _usage(argument: Any) -> str:
    many = "…" if argument.nargs == -1 else ""
    return _metavar(argument) + many if argument.required else f"[{_metavar(argument)}{many}]"


def _default(option: Any) -> str:
    if option.required:
        return "required"
    return "" if option.default is None or option.default is False else f"`{option.default}`"


def _fence(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; a vertical bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
