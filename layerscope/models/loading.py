"""Loading a model by hub id, folder or GGUF file.

The weights come from safetensors where there are any, else from ``.bin`` files read with ``weights_only=True``; code that
comes with a checkpoint is never run unless asked for. Every model is proved (`layerscope.models.causal`) before it is
handed out.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from layerscope.errors import ModelError, UsageError, missing_file
from layerscope.models import causal, gguf
from layerscope.models.architectures import ARCHITECTURES, Architecture
from layerscope.models.model import Model
from layerscope.models.reading import quiet, reading

__all__ = ["DTYPES", "Identity", "identify", "load_model", "wrap_module"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_SAFE = ("model.safetensors", "model.safetensors.index.json")


def load_model(
    source: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Model:
    """Load a model, find its parts and prove them.

    Parameters
    ----------
    source
        A hub id (``"EleutherAI/pythia-70m"``, ``"EleutherAI/pythia-70m@step1000"``), a folder, or a ``.gguf`` file. A GGUF
        file is converted once and kept under the cache by the hash of its content.
    dtype
        What the model computes in: ``"float32"``, ``"bfloat16"`` or ``"float16"``, whatever the checkpoint holds.
    device
        A torch device, such as ``"cpu"`` or ``"cuda:0"``.
    trust_remote_code
        Run the modelling code that a checkpoint brings along. Never on by itself.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        An unknown dtype or device.
    ModelError
        The model is missing, corrupt, of a family without a row in the architecture table, or that row does not hold.

    Examples
    --------
    >>> import layerscope as ls
    >>> ls.load_model("no/such/folder.gguf")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: no/such/folder.gguf: there is no such file, nor a folder no/such
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: choose {', '.join(DTYPES)}")
    where = _device(device)
    who = identify(source)
    name, folder, remedy = who.name, who.folder, "fetch it again"
    if isinstance(folder, Path) and folder.suffix == ".gguf":
        folder = gguf.converted(folder)
        remedy = f"delete {folder}, and it is converted again"
    options = {"revision": who.revision, "trust_remote_code": trust_remote_code}
    with reading(name, remedy), quiet():
        config = transformers.AutoConfig.from_pretrained(folder, **options)
    row = _row(config, name)
    with reading(name, remedy), quiet():
        module = _module(folder, config, row, name, DTYPES[dtype], options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    from_hub = partial(_commit, module.config, who.revision)
    fingerprint = who.fingerprint if isinstance(folder, Path) else from_hub
    return wrap_module(module.to(where), tokenizer, name=name, fingerprint=fingerprint)


@dataclass(frozen=True)
class Identity:
    """Which model a source names.

    Attributes
    ----------
    name
        As `layerscope.models.model.Model` has it.
    folder
        A folder, a ``.gguf`` file, or a hub id without its revision.
    revision
        Of a hub id; ``main`` elsewhere.
    fingerprint
        Called without arguments, names the exact weights, as that of the loaded model does, but without loading them.
    """

    name: str
    folder: Path | str
    revision: str
    fingerprint: Callable[[], str]


def identify(source: str | os.PathLike[str]) -> Identity:
    """Say which model a source names, without reading it.

    Raises
    ------
    ModelError
        There is no such file or folder.

    Examples
    --------
    >>> identify("EleutherAI/pythia-70m@step1000").revision
    'step1000'
    """
    path = Path(source)
    if not str(source).strip():  # which a path takes for the working folder
        raise UsageError("the model has no name: give a hub id (owner/name), a folder, or a .gguf file")
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(missing_file(path))
        return Identity(path.stem, path, "main", partial(gguf.content_hash, path))
    if path.is_dir():
        return Identity(path.resolve().name, path, "main", partial(_folder_hash, path))
    hub_id, revision = _hub_id(source)
    revision = revision or "main"
    return Identity(str(source), hub_id, revision, partial(_hub_commit, hub_id, revision))


def wrap_module(
    module: torch.nn.Module, tokenizer: Any = None, *, name: str, fingerprint: Callable[[], str] = str
) -> Model:
    """Make a `Model` of a Hugging Face module that is already in memory, and prove it.

    Raises
    ------
    ModelError
        No row in the architecture table, or the row does not hold.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> model = wrap_module(transformers.AutoModelForCausalLM.from_config(config), name="tiny")
    >>> model.depth, model.width
    (2, 8)
    """
    model = Model(module.eval(), tokenizer, name, _row(module.config, name), fingerprint)
    causal.prove(model)
    return model


def _row(config: Any, name: str) -> Architecture:
    row = ARCHITECTURES.get(config.model_type)
    if row is None:
        raise ModelError(
            f"{name}: the family {config.model_type!r} is not in the architecture table ({', '.join(ARCHITECTURES)}).\n"
            "Add a row to layerscope/models/architectures.py: docs/extending.md says how, and the load proves it right."
        )
    return row


def _module(
    folder: Path | str, config: Any, row: Architecture, name: str, dtype: torch.dtype, options: dict[str, Any]
) -> torch.nn.Module:
    """Load the class the checkpoint names, so that no head is invented for a checkpoint without one."""
    fallback = transformers.AutoModelForCausalLM if row.causal else transformers.AutoModel
    cls = getattr(transformers, (config.architectures or [""])[0], fallback)
    safe = _has_safetensors(folder, options["revision"])
    if not safe:
        warnings.warn(f"{name}: no safetensors, reading .bin files (weights only, no code is run)", stacklevel=4)
    module, report = cls.from_pretrained(
        folder, config=config, dtype=dtype, use_safetensors=safe, weights_only=True, output_loading_info=True, **options
    )
    missing = sorted(key for key in report["missing_keys"] if not _is_head(key, row))
    if missing:
        raise ModelError(
            f"{name}: the checkpoint lacks {len(missing)} weights, the first is {missing[0]}. Fetch it again."
        )
    return module  # type: ignore[no-any-return]


def _is_head(key: str, row: Architecture) -> bool:
    """A pooler or head that the checkpoint lacks is never run by a capture, so its absence does no harm."""
    return not row.causal and key.split(".")[0] in {"pooler", "cls", "lm_head", "classifier", "vocab_projector"}


def _has_safetensors(folder: Path | str, revision: str) -> bool:
    if isinstance(folder, Path):
        return any((folder / file).exists() for file in _SAFE)
    found = (
        transformers.utils.cached_file(folder, file, revision=revision, _raise_exceptions_for_missing_entries=False)
        for file in _SAFE
    )
    return any(found)


def _hub_id(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    name, _, revision = str(source).partition("@")
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or not name.strip():
        raise ModelError(f"{source}: there is no such folder. Give a hub id (owner/name), a folder, or a .gguf file.")
    return name, revision or None


def _device(device: str) -> torch.device:
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}: try cpu, cuda, cuda:0 or mps") from error
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {device!r} is not available on this machine: use --device cpu")
    return where


def _hub_commit(hub_id: str, revision: str) -> str:
    with reading(hub_id), quiet():
        return _commit(transformers.AutoConfig.from_pretrained(hub_id, revision=revision), revision)


def _commit(config: Any, revision: str) -> str:
    """Return the commit that a revision of the hub stands for: a configuration that came from there says it."""
    return str(getattr(config, "_commit_hash", None) or revision)


def _folder_hash(folder: Path) -> str:
    """Hash the configuration and the weights, whatever the folder is called."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".bin", ".json"}:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
