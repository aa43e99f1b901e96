"""Read the files of an untrusted model folder safely, and hash them to identify the weights.

A file is read only if it is a regular file inside the folder and not larger than files of its kind. Independent of models.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from layerscope.errors import ModelError

__all__ = ["check_file", "check_folder", "content_hash", "file_stamps", "read_json"]

_MIB = 2**20

# The files that libraries read, and their maximum size in bytes. The largest published tokenizer.json has 35 MB. The first
# matching pattern applies. Weights are as large as the model and are checked against its configuration.
_LIMITS: tuple[tuple[str, int | None], ...] = (
    ("*config.json", 16 * _MIB),
    ("*.json", 128 * _MIB),
    ("*.txt", 128 * _MIB),
    ("*.model", 128 * _MIB),
    ("*.jinja", _MIB),
    ("*.safetensors", None),
    ("*.bin", None),
)

_HASHED = {".safetensors", ".bin", ".json"}
_FOREIGN = 16  # other weights, such as the state of an optimizer, may be up to 16 times as large as the model's
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_folder(folder: Path) -> None:
    """Check all files of a folder that a library may read while it loads the model.

    Raises
    ------
    ModelError
        A file is not a regular file, leads outside the folder, cannot be read, or is too large.
    """
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern, _ in _LIMITS):
            check_file(path, folder)


def check_file(path: Path, folder: Path) -> None:
    """Check that `path` is a readable regular file inside `folder`, not larger than files of its kind.

    Raises
    ------
    ModelError
        One of these does not hold.
    """
    if not _is_inside(path, folder):
        raise ModelError(
            f"{path} leads outside the model folder, to {os.path.realpath(path)}.\n"
            "Only files inside the folder are read: copy it there."
        )
    try:
        found = path.stat()
    except FileNotFoundError as error:
        what = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        raise ModelError(f"{path} {what}: fetch the model again") from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise ModelError(f"{path} is {kind}, not a regular file: replace it or move it out of the model folder")
    if not os.access(path, os.R_OK):
        raise ModelError(f"{path} cannot be read: permission denied. Change its permissions (chmod u+r).")
    limit = next((limit for pattern, limit in _LIMITS if fnmatch(path.name, pattern)), None)
    if limit is not None and found.st_size > limit:
        raise ModelError(
            f"{path} has {found.st_size:,} bytes, and a file of this kind at most {limit:,}: "
            "replace it or move it out of the model folder"
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Resolve all links. The cache of the hub is allowed: its snapshots are links to ``blobs``, two folders up."""
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if real.is_relative_to(root):
        return True
    return root.parent.name == "snapshots" and real.is_relative_to(root.parent.parent / "blobs")


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """Read a JSON object from a file inside `folder`.

    Raises
    ------
    ModelError
        The file fails `check_file`, or does not contain a JSON object.
    """
    check_file(path, folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ModelError(f"{path} cannot be read: its JSON is nested too deeply") from error
    except ValueError as error:  # of JSON or of UTF-8
        raise ModelError(f"{path} cannot be read as JSON ({error}): fetch the model again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} contains a JSON {type(content).__name__}, not an object: fetch the model again")
    return content


def content_hash(folder: Path, weights: Iterable[Path]) -> str:
    """Return ``sha256:`` and the hash of the configuration and the weights, independent of the folder's name.

    Parameters
    ----------
    folder
        The model folder.
    weights
        The files with the model's own weights.

    Raises
    ------
    ModelError
        A file fails `check_file`, or other weights in the folder are far larger than the model.
    """
    own = {path.name: path.stat().st_size for path in weights}
    most = _FOREIGN * sum(own.values()) + 1024 * _MIB
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in _HASHED:
            continue
        check_file(path, folder)
        if path.name not in own and path.stat().st_size > most:
            raise ModelError(f"{path} is far larger than the model itself: move it out of the model folder")
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def file_stamps(path: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of the files that `content_hash` covers, or of a single file, by their names.

    Two calls with equal results had the same files before them, unless a file was edited and its time set back.
    """
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in _HASHED]
    found = {file.name: file.stat() for file in files if file.is_file()}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}
