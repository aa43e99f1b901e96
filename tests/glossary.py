"""Read the glossary of `docs/conventions.md`, and find where the package defines its words.

Run it to list every word with its definitions::

    python -m tests.glossary
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conventions.md"
PACKAGE = ROOT / "layerscope"

NAMED_AFTER_OTHERS = ("cli", "figures/kinds")
"""Packages whose modules bear the name of what they run or draw: a command, a figure kind."""

_WORD = re.compile(r"\*\*([a-z_ ]+)\*\*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def glossary() -> dict[str, str]:
    """Return the words of the glossary with their meanings, in order."""
    section = PAGE.read_text(encoding="utf-8").split("## Glossary\n")[1].split("\n## ")[0]
    meanings: dict[str, str] = {}
    for line in section.splitlines():
        if line.startswith("| **"):
            words, meaning = line.strip("| ").replace(r"\|", "¦").split(" | ", 1)
            for word in _WORD.findall(words):
                assert word not in meanings, f"the glossary explains {word} twice"
                meanings[word] = meaning
    return meanings


def definitions() -> dict[str, set[str]]:
    """Return the files that define each name as a module, class or function, in snake_case.

    A module and the class or function of its name are one definition. A package or module with the plural of a word as
    its name defines nothing: it holds things that the word means.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE).as_posix()
        if not relative.startswith(NAMED_AFTER_OTHERS):
            places[path.stem].add(relative)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    places[_HUMP.sub("_", node.name).lower()].add(relative)
    return places


def defined_twice() -> dict[str, set[str]]:
    """Return the words of the glossary that more than one file defines, with the files."""
    places = definitions()
    words = {word: places.get(word.replace(" ", "_"), set()) for word in glossary()}
    return {word: files for word, files in words.items() if len(files) > 1}


if __name__ == "__main__":
    defined = definitions()
    for word in glossary():
        print(f"{word:20}", *sorted(defined.get(word.replace(" ", "_"), ())))
