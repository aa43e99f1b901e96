"""Keep converted GGUF files in the cache: one folder for each content, made by the first process that needs it."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from transformers import GenerationConfig, PreTrainedConfig

from layerscope.cache import cache_folder
from layerscope.errors import ModelError
from layerscope.lock_files import folder_lock
from layerscope.models.folder import file_stamps
from layerscope.models.gguf.configuration import build_configuration
from layerscope.models.gguf.file import GGUFFile, count_and_name
from layerscope.models.gguf.keys import unknown_keys
from layerscope.models.gguf.vocabulary import build_tokenizer
from layerscope.models.gguf.weights import match
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.panics import without_panic_text
from layerscope.progress import progress

__all__ = ["convert", "file_hash"]

# Increased whenever the result of a conversion changes.
_CONVERSION = 2
_MANIFEST = "manifest.json"  # written last
_INSTEAD = "Give the complete file, or the checkpoint it was made from (a folder or a hub id)."
_UNREADABLE = "the file is damaged or cut short: fetch it again"


def file_hash(path: Path) -> str:
    """Return ``sha256:`` and the hash of the file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def convert(path: Path) -> Path:
    """Return the folder that holds `path` converted to float32 safetensors, making it first if need be.

    The conversion dequantises every tensor, which takes tens of seconds; loading the folder takes a few. The folder is made under
    a temporary name and renamed when complete, so a killed conversion leaves nothing that looks like a model. The next conversion
    removes its remains. When two processes need the same file, one converts and the other waits. A folder whose files have
    changed since is made again.

    Raises
    ------
    ModelError
        The file is damaged or not GGUF; its family, its tokenizer or a key is unknown; a tensor is missing, has the wrong shape
        or does not belong to the model.
    """
    folder = cache_folder("models") / f"{_CONVERSION}-{file_hash(path).removeprefix('sha256:')[:24]}"
    if not _is_intact(folder):
        with folder_lock(folder):
            _remove_halves(folder)
            if not _is_intact(folder):  # otherwise another process made it while this one waited
                _convert(path, folder)
    return folder


def _is_intact(folder: Path) -> bool:
    """Compare a conversion with its manifest: sizes and times of change, and the content if the times differ (a copy)."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        stamps = {name: list(stamp) for name, stamp in file_stamps(folder).items() if name != _MANIFEST}
        if stamps == manifest["stamps"]:
            return True
        return bool(stamps.keys() == manifest["stamps"].keys() and _contents(folder) == manifest["content"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no such folder, or a manifest that is damaged
        return False


def _write_manifest(folder: Path) -> None:
    """Record the files of a conversion, so that later changes are noticed."""
    manifest = {"stamps": file_stamps(folder), "content": _contents(folder)}
    (folder / _MANIFEST).write_text(json.dumps(manifest))


def _contents(folder: Path) -> dict[str, str]:
    return {name: file_hash(folder / name) for name in file_stamps(folder) if name != _MANIFEST}


def _remove_halves(folder: Path) -> None:
    """Remove what killed conversions have left of this folder, and of any other that no process is making."""
    for partial in folder.parent.glob("*.tmp"):
        name = partial.name.split(".")[0]
        if name == folder.name:
            shutil.rmtree(partial, ignore_errors=True)
            continue
        with folder_lock(folder.with_name(name), wait=False) as gone:
            if gone:
                shutil.rmtree(partial, ignore_errors=True)


def _convert(path: Path, folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)  # one that has lost files
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent) as partial:
            _write(path, Path(partial))
            os.replace(partial, folder)  # a folder: outputs.replace_whole moves files
    except OSError as error:
        raise ModelError(f"{path}: the converted model cannot be kept in {folder.parent} ({error})") from error


def _write(path: Path, folder: Path) -> None:
    with progress(f"converting {path.name}, once"), translate_loader_errors(str(path), _UNREADABLE), silence_loaders():
        file = GGUFFile.open(path)
        config = build_configuration(file)
        with without_panic_text():
            tokenizer = build_tokenizer(file)
        endings = _endings(file, config)
        found = match(file, config)
        _refuse(file, found.faults)
        save_file(found.weights(), folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(folder)
        endings.save_pretrained(folder)
        config.save_pretrained(folder)
        _write_manifest(folder)


def _endings(file: GGUFFile, config: PreTrainedConfig) -> GenerationConfig:
    """Return the tokens that end generated text: of a text, of a turn, of a message."""
    ends = [config.eos_token_id, *(file.get(f"tokenizer.ggml.{kind}_token_id", None) for kind in ("eot", "eom"))]
    ends = list(dict.fromkeys(end for end in ends if end is not None))
    return GenerationConfig(
        bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id, eos_token_id=ends or None
    )


def _refuse(file: GGUFFile, faults: list[str]) -> None:
    """Refuse a file if the conversion would drop or invent anything."""
    keys = unknown_keys(file.unused_keys(), file.architecture)
    if keys:
        faults = [count_and_name(keys, "key", "not known"), *faults]
    if faults:
        remedies = [remedy for remedy in keys.values() if remedy]
        remedy = remedies[0] if remedies else _INSTEAD
        raise ModelError(f"{file.path}: converted, it would be another model: {'; '.join(faults)}.\n{remedy}")
