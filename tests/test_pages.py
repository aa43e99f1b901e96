"""The pages that show commands: every command parses, those of the quickstart run, and the gallery has every figure kind."""

import ast
import itertools
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import typer.main

import layerscope as ls
from layerscope import figures
from layerscope.cli import app
from layerscope.figures.catalogue import FIGURES

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


GALLERY = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in PAGES}
TEXTS["gallery"] = GALLERY["gallery_page"]()
TEXTS["commands"] = runpy.run_path(str(ROOT / "docs" / "commands.py"))["commands_page"]()
sys.path.append(str(ROOT / "docs"))  # the page imports its neighbour
SCALE = runpy.run_path(str(ROOT / "docs" / "scale.py"))
TEXTS["scale"] = SCALE["scale_page"]()
SHOWN = [
    pytest.param(arguments, id=f"{name}-{' '.join(arguments)}"[:80])
    for name, text in TEXTS.items()
    if name != "extending"  # tests/test_extending.py runs its commands
    for arguments in commands(text)
]


@pytest.mark.parametrize("arguments", SHOWN)
def test_command_parses(arguments):
    name, *rest = arguments
    COMMANDS[name].make_context(name, rest)


def test_commands_are_found():
    assert len(SHOWN) > 80


PYTHON = [
    pytest.param(block, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    if name != "extending"  # its blocks are parts of files
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_uses_names_that_exist(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ls":
            getattr(ls, node.attr)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ls.figures":
            getattr(figures, node.attr)


@pytest.mark.real
def test_quickstart_prints_the_numbers_that_it_shows(smollm2_path):
    outputs = runpy.run_path(str(ROOT / "docs" / "outputs.py"))
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    shown, printed = (re.findall(r"[\d.,]*\d(?! tokens/s)\b", text) for text in (page, outputs["filled"](page)))
    assert printed == shown, "run python docs/outputs.py docs/quickstart.md"


def test_gallery_shows_every_figure_kind_with_a_thumbnail():
    thumbnails = {path.stem for path in GALLERY["THUMBNAILS"].glob("*.png")}
    assert len(thumbnails) >= 13
    assert thumbnails <= set(FIGURES)
    assert re.findall(r"images/gallery/(\w+)\.png\)\]", TEXTS["gallery"]) == [
        name for name in FIGURES if name in thumbnails
    ]


def test_the_page_of_commands_has_every_option_with_its_default():
    page = TEXTS["commands"]
    for name, command in COMMANDS.items():
        section = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
        rows = {row.split("`")[1]: row for row in section.splitlines() if row.startswith("| `")}
        options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
        assert {one.opts[0] for one in options} == {row for row in rows if row.startswith("-")}
        for one in options:
            default = "required" if one.required else "" if one.default is None or one.is_flag else f"`{one.default}`"
            assert rows[one.opts[0]].rpartition(" | ")[0].endswith(one.help.replace("|", r"\|"))
            assert rows[one.opts[0]].rpartition(" | ")[2].rstrip(" |") == default, one.opts


def test_the_page_on_scale_is_arithmetic():
    pythia, llama = SCALE["shapes"]()
    assert (round(pythia.of_blocks / 1e9, 1), round(llama.whole / 1e9, 1)) == (11.3, 70.6)  # as published
    need = SCALE["needs"](pythia)["`--store-dtype bfloat16`"]
    assert need.moved == 1_000_000 * 37 * 5120 * 2
    assert need.written == pytest.approx(need.moved, rel=0.01)
    assert need.flops == pytest.approx(1e6 * (2 * pythia.of_blocks + 4 * 36 * 5120 * 2000))
    assert need.seconds["computing"] == need.flops / 989.4e12
    assert SCALE["needs"](pythia)["`--tokens last`"].limit == "computing"
    assert SCALE["needs"](pythia)["statistics only"].written == 0
    assert "989 TFLOP/s" in TEXTS["scale"]
