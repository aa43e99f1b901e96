"""GGUF files: converted once to an ordinary model folder, kept under the cache by the hash of their content."""

import hashlib
import os
import shutil
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
import transformers

from layerscope.cache import cache_folder
from layerscope.errors import ModelError
from layerscope.models.reading import quiet, reading
from layerscope.progress import progress

__all__ = ["content_hash", "converted"]

_MAGIC = b"GGUF"


def content_hash(path: Path) -> str:
    """Return ``sha256:`` and the hash of the file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def converted(path: Path) -> Path:
    """Return the folder that holds `path` converted to float32 safetensors, making it first if need be.

    The conversion dequantises every tensor, which takes tens of seconds; reading the folder back takes a few. The folder is
    made under a temporary name and renamed when whole, so a killed conversion leaves nothing that looks like a model.

    Raises
    ------
    ModelError
        When the file is not GGUF, or cannot be converted.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ModelError(f"{path}: not a GGUF file (its first bytes are not 'GGUF')")
    folder = cache_folder("models") / content_hash(path).removeprefix("sha256:")[:24]
    if not (folder / "config.json").is_file():
        _convert(path, folder)
    return folder


def _convert(path: Path, folder: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        _write(path, partial)
        os.replace(partial, folder)
    except OSError as error:
        if not (folder / "config.json").is_file():  # else another process finished the same conversion first
            raise ModelError(f"{path}: the converted model cannot be kept in {folder.parent} ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(path: Path, folder: Path) -> None:
    options = {"gguf_file": path.name, "local_files_only": True}
    work = progress(f"converting {path.name}, once")
    # The reader draws its own bar on standard error whatever it is told; ours, above, knows when not to.
    with work, reading(str(path)), quiet(), redirect_stderr(StringIO()):
        module = transformers.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
        # What is left is an ordinary float32 model: without these marks it may be saved as one.
        module.hf_quantizer = None
        module.is_quantized = False
        del module.config.quantization_config
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
