"""Find the file that defines an lm-eval task by its name.

lm-eval's own index parses all of its 14,000 files, which takes half a minute. This one reads only the lines that give names. It
does not import lm-eval.
"""

import importlib.util
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal

from layerscope.errors import UsageError
from layerscope.progress import progress

__all__ = ["find_definition"]

_MISSING = "lm-eval tasks need lm-eval, which is not installed: pip install 'layerscope[bench]'"

_NAME = re.compile(r"""^["']?(task|group)["']?[ ]*:[ ]*["']?([^"'\n#\[]+?)["']?[ ]*(?:\#.*)?\r?$""", re.MULTILINE)
_CLASS = re.compile(r"""^["']?class["']?[ ]*:""", re.MULTILINE)  # a task in Python, even if it names a group
_TAGS = re.compile(r"""^["']?tag["']?[ ]*:[ ]*(.*)((?:\n[ ]*-[ ].*)*)""", re.MULTILINE)
_WORD = re.compile(r"""[^\s"'\[\],#-][^\s"'\[\],#]*""")


@dataclass
class _Definition:
    """The file of a task, or a group or tag with its known members."""

    kind: Literal["task", "group", "tag"]
    path: Path
    members: list[str] = field(default_factory=list)


def find_definition(name: str, include_path: Path | None) -> Path:
    """Find the file that defines a task.

    Parameters
    ----------
    name
        lm-eval's name of the task.
    include_path
        Folder whose definitions precede lm-eval's own.

    Raises
    ------
    UsageError
        The task is unknown (the error names the nearest one) or is a group or tag of several tasks; the folder does not exist;
        lm-eval is not installed.
    """
    definitions = dict(_defaults())
    if include_path is not None:
        if not include_path.is_dir():
            raise UsageError(f"--include-path {include_path}: there is no such folder")
        definitions |= _definitions(include_path)
    if name not in definitions:
        raise _unknown(name, list(definitions), include_path)
    definition = definitions[name]
    if definition.kind != "task":
        raise UsageError(_several(name, definition))
    return definition.path


def _unknown(name: str, known: list[str], include_path: Path | None) -> UsageError:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean 'lm-eval:{close[0]}'? " if close else ""
    own = f"{include_path} does not define it either" if include_path else "--include-path DIR adds your own"
    return UsageError(f"unknown task 'lm-eval:{name}': {hint}`lm-eval ls tasks` lists them all; {own}")


def _several(name: str, definition: _Definition) -> str:
    members = sorted(definition.members)
    first = "".join(f" --task lm-eval:{member}" for member in members[:2])
    example = f", as in{first}" if first else " (`lm-eval ls tasks` lists them)"
    return (
        f"'lm-eval:{name}' is a {definition.kind} of several lm-eval tasks, which are scored separately: "
        f"name the tasks{example}"
    )


def _default_folder() -> Path:
    try:
        spec = importlib.util.find_spec("lm_eval")
    except ValueError:  # a module that was removed from sys.modules has no spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(_MISSING)
    return Path(spec.submodule_search_locations[0]) / "tasks"


def _defaults() -> dict[str, _Definition]:
    return _cached_definitions(_default_folder())


@lru_cache(maxsize=1)
def _cached_definitions(folder: Path) -> dict[str, _Definition]:
    with progress("looking through lm-eval's tasks"):
        return _definitions(folder)


def _definitions(folder: Path) -> dict[str, _Definition]:
    definitions: dict[str, _Definition] = {}
    for path in sorted(path for path in folder.rglob("*") if _defines(path)):
        text = path.read_text(encoding="utf-8", errors="replace")
        names = dict(_NAME.findall(text))
        several = "group" in names and not _CLASS.search(text)
        own = names.get("group" if several else "task")
        if own is not None and path.suffix == ".yaml":
            kind: Literal["task", "group"] = "group" if several else "task"
            definitions.setdefault(own, _Definition(kind, path, _listed(text) if kind == "group" else []))
        for line, items in _TAGS.findall(text):
            for tag in _WORD.findall(line.partition("#")[0] + " " + items):
                tagged = definitions.setdefault(tag, _Definition("tag", path))
                tagged.members += [own] if own else []
    return definitions


def _defines(path: Path) -> bool:
    # lm-eval reads names from .yaml files only. Included files have any suffix or none, and may add tags.
    return (path.suffix in ("", ".yaml") or "yaml" in path.name) and "__pycache__" not in path.parts and path.is_file()


def _listed(text: str) -> list[str]:
    """Return the members that a group lists as plain names."""
    block = re.search(r"^task[ ]*:[ ]*\n((?:[ ]*(?:-|\#|[a-z_]+:).*\n?)*)", text, re.MULTILINE)
    return re.findall(r"^[ ]*-[ ]*(?:task:[ ]*)?([\w.-]+)[ ]*$", block.group(1), re.MULTILINE) if block else []
