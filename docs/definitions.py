"""mkdocs hook: ``::: Name`` on a page documents the class or function of that name, wherever the package defines it.

Pages therefore survive a move of a module. A name that is defined nowhere, or in two modules, fails the build.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "layerscope"

_BARE_NAME = re.compile(r"^::: (\w+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each bare name by its full path."""
    return _BARE_NAME.sub(lambda match: f"::: {_path_of(match[1])}", markdown)


def _path_of(name: str) -> str:
    paths = _definitions().get(name, [])
    if len(paths) != 1:
        raise ValueError(f"{name} is defined in {len(paths)} modules: {', '.join(paths)}")
    return f"{paths[0]}.{name}"


@cache
def _definitions() -> dict[str, list[str]]:
    """Return the modules that define each public class and function of the package."""
    modules: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                modules.setdefault(node.name, []).append(module)
    return modules
