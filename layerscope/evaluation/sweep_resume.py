"""Check and resume the files of a sweep: its output, a finished file with the same options, and its journal."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import xarray

from layerscope.errors import FileError, LayerScopeError, UsageError
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.journal_file import discard, journal_path
from layerscope.evaluation.sweep_options import SweepOptions
from layerscope.evaluation.tasks.builtin import TASKS
from layerscope.models.encoder_decoder import stack_name
from layerscope.models.identity import identify
from layerscope.outputs import new_file, writable
from layerscope.provenance import moving_weights, nested
from layerscope.results import read_sweep
from layerscope.store.resume import first_difference
from layerscope.store.write_lock import WriteLock
from layerscope.version import __version__

__all__ = ["check_target", "complete_sweep", "finished_sweep", "open_journal"]


def check_target(path: Path, model: object, resume: bool, overwrite: bool) -> Path:
    """Return the path of a sweep file, after checking that the sweep may write there.

    Raises
    ------
    UsageError
        The file or its journal exists, and neither `resume` nor `overwrite` is given; or both are given.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: continue the sweep, or start again")
    if resume:
        return writable(path, model)
    new_file(path, overwrite, model)
    if journal_path(path).exists() and not overwrite:
        raise UsageError(
            f"{path}: an interrupted sweep is here: give --resume to continue it, or --overwrite to start again"
        )
    return path


def complete_sweep(path: Path, model: str | os.PathLike[str], options: SweepOptions) -> xarray.Dataset | None:
    """Return the sweep of a complete file with these options, without loading the model; None for any other file.

    The same weights imply the same tokenizer and depth, and the same version of LayerScope the same built-in examples. The data
    of other tasks may have changed, so a sweep with such a task is never complete here.
    """
    dataset, stored = _read(path)
    if dataset.attrs.get("layerscope_version") != __version__ or not set(stored.get("tasks", "?")) <= set(TASKS):
        return None
    identity = identify(model)
    known: dict[str, Any] = {name: stored.get(name) for name in ("weights", "examples", "runs")}
    # Compare the hash of the weights last, because it reads all their files.
    name = stack_name(identity.name, options.stack)
    if stored != options.settings(model=name, dtype=options.dtype or "float32", **known):
        return None
    if stored["weights"] != identity.fingerprint():
        return None
    if stored["runs"] != options.plan(int(dataset.attrs.get("num_blocks", 0))).names:
        return None
    _clear(path)
    return dataset


def finished_sweep(path: Path, settings: Mapping[str, Any]) -> xarray.Dataset:
    """Return the sweep of a finished file.

    Raises
    ------
    LayerScopeError
        The file has other settings.
    """
    dataset, stored = _read(path)
    _require_same(path, stored, settings)
    _clear(path)
    return dataset


@contextmanager
def open_journal(path: Path | None, settings: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    """Open the journal of a sweep: next to its file, or in a temporary folder for a sweep without a file.

    Raises
    ------
    LayerScopeError
        The journal to continue has other settings.
    """
    with ExitStack() as stack:
        if path is None:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "journal"
        else:
            file = journal_path(path)
            stack.enter_context(WriteLock(path, "sweep"))  # before the journal is removed: it may be a running sweep's
            if not resume:
                discard(file)
        with Journal(file, settings) as journal:
            _require_same(path or file, journal.settings, settings)
            yield journal


def _clear(path: Path) -> None:
    """Remove what a killed sweep left next to its finished file; a running sweep removes its own."""
    journal, lock = journal_path(path), WriteLock(path, "sweep")
    if journal.exists() or lock.exists:
        with suppress(FileError), lock:
            discard(journal)


def _read(path: Path) -> tuple[xarray.Dataset, dict[str, Any]]:
    dataset = read_sweep(path)
    settings = nested(str(dataset.attrs.get("settings", "")))
    if not isinstance(settings, dict):
        raise FileError(f"{path} does not record its settings\nstart again with --overwrite")
    return dataset, settings


def _require_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    difference = first_difference(stored, wanted)
    if difference is None:
        return
    moving = moving_weights(stored.get("weights"), wanted["weights"])
    if moving and first_difference(stored, {**wanted, "weights": stored["weights"]}) is None:
        raise LayerScopeError(f"{path}: {moving}")
    raise LayerScopeError(f"{path}: {difference}. Resume with the same settings, or start again with --overwrite.")
