"""``layerscope info``: describe a file or a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from layerscope.cli.options import Json, Stack

__all__ = ["info"]

_SHOWN = 8  # items of a list
_ENDINGS = (".h5", ".nc", ".journal")


def info(
    source: Annotated[str, typer.Argument(help="A file that LayerScope made, or a model: hub id, folder or .gguf.")],
    stack: Stack = None,
    as_json: Json = False,
) -> None:
    """Describe a file and report whether it is complete, or a model.

    Of an unfinished file, print the progress and how to resume.

    Example: layerscope info run.h5

    Of a model, print its parts and what each backend can do with it.
    The model is loaded, checked and run on a few tokens.

    Example: layerscope info EleutherAI/pythia-70m
    """
    facts = _model(source, stack) if _is_model(source) else _file(Path(source), stack)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    facts = _spread(facts)
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


def _is_model(source: str) -> bool:
    """Return whether a name is that of a model: a folder, a GGUF file, or a hub id, which has no ending of a result file."""
    path = Path(source)
    return path.is_dir() or path.suffix == ".gguf" or not (path.exists() or path.suffix in _ENDINGS)


def _model(source: str, stack: str | None) -> dict[str, Any]:
    from layerscope.capturing.model_info import model_info

    return model_info(source, stack=stack)  # type: ignore[arg-type]  # checked there


def _file(file: Path, stack: str | None) -> dict[str, Any]:
    from layerscope.errors import UsageError

    if stack is not None:
        raise UsageError(f"--stack is a part of a model, and {file} is a file: leave it out")
    return _facts(file)


def _facts(file: Path) -> dict[str, Any]:
    from layerscope.evaluation.journal_file import is_journal, journal_path
    from layerscope.result_kinds import KINDS
    from layerscope.results import kind_of

    if is_journal(file):
        return _journal(file)
    if not file.exists() and journal_path(file).exists():
        return _journal(journal_path(file))
    kind = kind_of(file)
    if kind in KINDS:
        return _results(file, kind)
    return _results(file, "analysis") if kind is None and file.suffix == ".nc" else _capture(file)


def _spread(facts: dict[str, Any]) -> dict[str, Any]:
    """Expand JSON values into separate lines, for people to read."""
    from layerscope.provenance import nested

    lines: dict[str, Any] = {}
    for name, value in facts.items():
        inner = nested(value) if isinstance(value, str) and value.startswith("{") else value
        if isinstance(inner, dict):
            lines |= {f"{name}.{key}": _listed(part) for key, part in inner.items()}
        else:
            lines[name] = _listed(value)
    return lines


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items()) or "none"
    if not isinstance(value, list):
        return value
    shown = ", ".join(map(str, value[:_SHOWN]))
    return shown if len(value) <= _SHOWN else f"{shown}, … ({len(value)})"


def _journal(path: Path) -> dict[str, Any]:
    from layerscope.evaluation.journal_file import read_journal

    journal = read_journal(path)
    return {
        "file": str(path),
        "kind": "journal of a sweep",
        "complete": False,
        "finished_batches": journal.finished,
        "settings": journal.settings,
        "go_on": f"give layerscope sweep --resume with the same settings and --output {str(path).removesuffix('.journal')}",
    }


def _capture(path: Path) -> dict[str, Any]:
    from layerscope.store.header import read_header
    from layerscope.store.schema import CAPTURE

    header = read_header(path)
    return {
        "file": str(path),
        "kind": "capture",
        "complete": header.complete,
        "committed_rows": header.committed_rows,
        **header.sizes,
        "streams": ", ".join(header.layout.streams),
        "layers": _ranges(header.layout.layer),
        "blocks": _ranges(header.layout.block),
        "variables": ", ".join(header.variables),
        "metadata": ", ".join(name for name in header.variables if name not in CAPTURE.variables) or "none",
        "store_dtype": str(header.layout.store_dtype).removeprefix("torch."),
        "final_norm": header.layout.final_norm,
        "bytes": header.file_bytes,
        **{name: value for name, value in header.attributes.items() if name != "complete"},
        **({} if header.complete else {"go_on": "give layerscope capture --resume with the same options"}),
    }


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as text: ``0-30``, or ``0,5,9`` with gaps between them."""
    if not numbers:
        return "none"
    whole = len(numbers) == numbers[-1] - numbers[0] + 1
    return f"{numbers[0]}-{numbers[-1]}" if whole else ",".join(map(str, numbers))


def _results(path: Path, kind: str) -> dict[str, Any]:
    from layerscope.results import read_result
    from layerscope.store.file_schema import plain_value

    result = read_result(path, kind)
    return {
        "file": str(path),
        "kind": kind,
        "complete": True,  # written atomically
        **{str(name): size for name, size in result.sizes.items()},
        "variables": ", ".join(map(str, result.data_vars)),
        **{str(name): plain_value(value) for name, value in result.attrs.items()},
    }
