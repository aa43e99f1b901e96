"""Decide which model a source names, and name its weights, without loading it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from layerscope.errors import ModelError, UsageError, missing_file
from layerscope.models import gguf
from layerscope.models.adapter import find_adapter
from layerscope.models.checkpoint import folder_hash, hub_commit
from layerscope.models.folder import file_stamps
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors

__all__ = ["Identity", "identify"]


@dataclass(frozen=True)
class Identity:
    """Which model a source names.

    Attributes
    ----------
    name
        The name of the model, as in `layerscope.models.model.Model`.
    folder
        A folder, a ``.gguf`` file, or a hub id without its revision.
    revision
        The revision of a hub id; ``main`` otherwise.
    fingerprint
        Returns the name of the exact weights, as for the loaded model, without loading them.
    """

    name: str
    folder: Path | str
    revision: str
    fingerprint: Callable[[], str]

    @property
    def is_file(self) -> bool:
        """Whether the model is one file (GGUF)."""
        return isinstance(self.folder, Path) and self.folder.suffix == ".gguf"

    def fingerprint_while_unchanged(self) -> Callable[[], str]:
        """Return a fingerprint that is an empty name as soon as the files have changed since this call.

        The files are read once: their stamps show a change.
        """
        if not isinstance(self.folder, Path):
            return self.fingerprint
        path, before, fingerprint = self.folder, file_stamps(self.folder), cache(self.fingerprint)
        return lambda: fingerprint() if file_stamps(path) == before else ""


def identify(source: str | os.PathLike[str]) -> Identity:
    """Return the model that a source names, without reading it.

    Raises
    ------
    ModelError
        The file or folder does not exist, or is not a model.

    Examples
    --------
    >>> identify("EleutherAI/pythia-70m@step1000").revision
    'step1000'
    """
    path = Path(source)
    if not str(source).strip():  # a path would take it for the working folder
        raise UsageError("the model has no name: give a hub id (owner/name), a folder, or a .gguf file")
    if path.suffix == ".gguf":
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is not a regular file: give a .gguf file, or rename the folder")
        if not path.exists():
            raise ModelError(missing_file(path))
        return Identity(path.stem, path, "main", partial(gguf.file_hash, path))
    if path.is_dir():
        return Identity(path.resolve().name, path, "main", partial(_stored_weights, path, "main"))
    if path.exists():
        raise ModelError(f"{path} is no model folder and no .gguf file: give one of them, or a hub id (owner/name)")
    hub_id, revision = _hub_id(source)
    revision = revision or "main"
    return Identity(str(source), hub_id, revision, partial(_stored_weights, hub_id, revision))


def _hub_id(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    name, _, revision = str(source).partition("@")
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or not name.strip():
        raise ModelError(f"{source}: there is no such folder. Give a hub id (owner/name), a folder, or a .gguf file.")
    return name, revision or None


def _stored_weights(folder: Path | str, revision: str) -> str:
    """Return the name of the weights in a folder or on the hub; that of an adapter names its base model's too."""
    with translate_loader_errors(str(folder)), silence_loaders():
        adapter = find_adapter(folder, revision)
        if adapter is not None:
            return f"{identify(adapter.base).fingerprint()} + {adapter.fingerprint()}"
        return folder_hash(folder) if isinstance(folder, Path) else hub_commit(folder, revision)
