"""`docs/extending.md` is true: its code goes into a copy of the repository, and its commands run there.

The title of a block says where it goes: ``FILE``, at its end, or ``FILE, below: LINE`` or ``FILE, above: LINE``. Commands in
``sh`` blocks must succeed.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block of the page."""

    language: str
    title: str | None
    code: str


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each section that adds something, by its heading."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (Add .+)$", page, flags=re.MULTILINE)
    return {
        heading: [Block(*match.group("language", "title", "code")) for match in _BLOCK.finditer(text)]
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def put(block: Block, root: Path) -> None:
    """Put a block where its title says: at the end of a file, or below or above a line of it."""
    assert block.title
    name, place, quoted = re.fullmatch(r"(\S+?)(?:, (below|above): (.+))?", block.title).groups()  # type: ignore[union-attr]
    path = root / name
    if place is None:
        before = path.read_text(encoding="utf-8").rstrip() + "\n\n\n" if path.exists() else ""
        path.write_text(before + block.code, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (number,) = [number for number, line in enumerate(lines) if line.strip() == quoted]
    number += place == "below"
    indent = re.match(r" *", lines[number])[0]  # type: ignore[index]
    lines.insert(number, textwrap.indent(block.code, indent))
    path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("heading", sections())
def test_the_code_of_each_section_works(heading: str, tmp_path: Path) -> None:
    for name in ("layerscope", "tests", "pyproject.toml", "CITATION.cff"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    blocks = sections()[heading]
    for block in blocks:
        if block.title:
            put(block, tmp_path)
    commands = [line for block in blocks if block.language == "sh" for line in block.code.splitlines()]
    assert any(block.title for block in blocks)
    assert commands
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LAYERSCOPE_CACHE": str(tmp_path / "cache"),
    }
    (tmp_path / "bin").mkdir()
    for program, words in (
        ("layerscope", "-m layerscope"),
        # Without checks of types at run time: a process that runs a few tests would spend most of its time on them.
        ("pytest", "-m pytest -q -p no:cacheprovider -o addopts=--doctest-modules"),
        ("python", ""),
    ):
        script = tmp_path / "bin" / program
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        script.chmod(0o755)
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
