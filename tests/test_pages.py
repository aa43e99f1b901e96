"""The pages that show commands: every command parses, with options that exist."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from layerscope.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.remove(ROOT / "docs" / "paper-scale.md")  # test_paper_scale runs its commands
COMMANDS = typer.main.get_command(app).commands

_BLOCK = re.compile(r"^```(?:sh|bash)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\})")
_OPERATORS = {"&&", "||", "|", "&", ";", ">", "<"}


def commands(page: str) -> list[list[str]]:
    """Return the arguments of every ``layerscope`` command in the shell blocks of a page."""
    lines = [line for block in _BLOCK.findall(page) for line in block.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in map(_words, lines) if words[:1] == ["layerscope"]]


def _words(line: str) -> list[str]:
    """Return the words of the first command of a line, each variable replaced by 1."""
    if "layerscope " not in line:
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words = itertools.takewhile(lambda word: word not in _OPERATORS, lexer)
    words = itertools.dropwhile(lambda word: re.match(r"\w+=", word), words)
    return [_VARIABLE.sub("1", word) for word in words]


SHOWN = [
    pytest.param(arguments, id=f"{path.stem}-{' '.join(arguments)}"[:80])
    for path in PAGES
    for arguments in commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("arguments", SHOWN)
def test_command_parses(arguments):
    name, *rest = arguments
    COMMANDS[name].make_context(name, rest)


def test_commands_are_found():
    assert len(SHOWN) > 80
