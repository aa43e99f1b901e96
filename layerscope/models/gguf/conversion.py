"""The cache of converted GGUF files: one folder for each content, made once by whichever process comes first."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from transformers import GenerationConfig, PreTrainedConfig

from layerscope.cache import cache_folder
from layerscope.errors import ModelError
from layerscope.models.gguf.configuration import build_configuration
from layerscope.models.gguf.file import GGUFFile, count_and_name
from layerscope.models.gguf.keys import unknown_keys
from layerscope.models.gguf.locks import folder_lock
from layerscope.models.gguf.vocabulary import build_tokenizer
from layerscope.models.gguf.weights import match
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.panics import without_panic_text
from layerscope.progress import progress

__all__ = ["convert", "file_hash"]

# Counted up whenever the same file is converted to anything else than before.
_CONVERSION = 2
_DONE = "config.json"  # written last
_INSTEAD = "Give the whole file, or the checkpoint that it was made of (a folder or a hub id)."
_UNREADABLE = "the file is damaged or cut short: fetch it again"


def file_hash(path: Path) -> str:
    """Return ``sha256:`` and the hash of the file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def convert(path: Path) -> Path:
    """Return the folder that holds `path` converted to float32 safetensors, making it first if need be.

    The conversion dequantises every tensor, which takes tens of seconds; reading the folder back takes a few. The folder is
    made under a temporary name and renamed when whole, so a killed conversion leaves nothing that looks like a model; what it
    leaves is removed by the next conversion. Of two processes that want the same file, one converts and the other waits.

    Raises
    ------
    ModelError
        The file is not GGUF or damaged; its family, its tokenizer or any key is not known; a tensor is missing, has the wrong
        shape or has no place in the model.
    """
    folder = cache_folder("models") / f"{_CONVERSION}-{file_hash(path).removeprefix('sha256:')[:24]}"
    if not (folder / _DONE).is_file():
        with folder_lock(folder):
            _remove_halves(folder)
            if not (folder / _DONE).is_file():  # else another process made it while this one waited
                _convert(path, folder)
    return folder


def _remove_halves(folder: Path) -> None:
    """Remove what killed conversions have left: of this folder, and of any that no process is making."""
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
            os.replace(partial, folder)
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


def _endings(file: GGUFFile, config: PreTrainedConfig) -> GenerationConfig:
    """Return which tokens end what the model writes: of a text, of a turn, of a message."""
    ends = [config.eos_token_id, *(file.get(f"tokenizer.ggml.{kind}_token_id", None) for kind in ("eot", "eom"))]
    ends = list(dict.fromkeys(end for end in ends if end is not None))
    return GenerationConfig(
        bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id, eos_token_id=ends or None
    )


def _refuse(file: GGUFFile, faults: list[str]) -> None:
    """Refuse a file of which anything would be left out or made up."""
    keys = unknown_keys(file.unused_keys(), file.architecture)
    if keys:
        faults = [count_and_name(keys, "key", "not known"), *faults]
    if faults:
        remedies = [remedy for remedy in keys.values() if remedy]
        remedy = remedies[0] if remedies else _INSTEAD
        raise ModelError(f"{file.path}: converted, it would be another model: {'; '.join(faults)}.\n{remedy}")
