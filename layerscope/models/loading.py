"""Loading a model by hub id, folder or GGUF file.

The weights come from safetensors where there are any, else from ``.bin`` files read with ``weights_only=True``; code that
comes with a checkpoint is never run unless asked for. Every model is proved (`layerscope.models.architecture_check`) before it is
handed out.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from layerscope.arguments import checked
from layerscope.errors import ModelError, UsageError, missing_file
from layerscope.models import gguf
from layerscope.models.architecture_check import check_architecture
from layerscope.models.architectures import ARCHITECTURES, Architecture
from layerscope.models.checkpoint import Checkpoint, folder_hash, hub_commit, open_folder, open_hub
from layerscope.models.config_check import check_memory, check_sizes, model_class
from layerscope.models.length_probe import measure_length_dependence
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.model import Model
from layerscope.models.token_ids import TokenizerLike, check_tokenizer
from layerscope.models.tokenizer import load_tokenizer
from layerscope.models.weight_report import check_weights

__all__ = ["DTYPES", "Identity", "identify", "load_model", "wrap_module"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@checked
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
    folder, remedy = who.folder, None
    if isinstance(folder, Path) and folder.suffix == ".gguf":
        folder = gguf.convert(folder)
        remedy = f"delete {folder}, and it is converted again"
    with translate_loader_errors(who.name, remedy), silence_loaders():
        checkpoint = open_folder(folder) if isinstance(folder, Path) else open_hub(folder, who.revision)
        # All that is read from the hub is of one commit, though its branch may move meanwhile.
        revision = who.revision if isinstance(folder, Path) else checkpoint.folder.name
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        module = _module(folder, checkpoint, who.name, DTYPES[dtype], options)
    tokenizer = load_tokenizer(folder, who.name, remedy, options)
    fingerprint = who.fingerprint if isinstance(folder, Path) else partial(str, revision)
    return wrap_module(module.to(where), tokenizer, name=who.name, fingerprint=fingerprint)


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
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is not a regular file: give a .gguf file, or a folder under another name")
        if not path.exists():
            raise ModelError(missing_file(path))
        return Identity(path.stem, path, "main", partial(gguf.file_hash, path))
    if path.is_dir():
        return Identity(path.resolve().name, path, "main", partial(folder_hash, path))
    hub_id, revision = _hub_id(source)
    revision = revision or "main"
    return Identity(str(source), hub_id, revision, partial(_hub_commit, hub_id, revision))


@checked
def wrap_module(
    module: torch.nn.Module, tokenizer: TokenizerLike | None = None, *, name: str, fingerprint: Callable[[], str] = str
) -> Model:
    """Make a `Model` of a Hugging Face module that is already in memory, and prove it.

    Raises
    ------
    ModelError
        No row in the architecture table, or the row does not hold; parts of the module are compiled.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> model = wrap_module(transformers.AutoModelForCausalLM.from_config(config), name="tiny")
    >>> model.depth, model.width
    (2, 8)
    """
    plain: Any = getattr(module, "_orig_mod", module)  # under torch.compile, whose graph shows no block
    model = Model(plain.eval(), tokenizer, name, _row(plain.config.model_type, name), fingerprint)
    check_architecture(model)
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.vocabulary_size, name)
    return replace(model, length_dependence=measure_length_dependence(model))


def _row(family: object, name: str) -> Architecture:
    row = ARCHITECTURES.get(family) if isinstance(family, str) else None
    if row is None:
        raise ModelError(
            f"{name}: the family {family!r} is not in the architecture table ({', '.join(ARCHITECTURES)}).\n"
            "Add a row to layerscope/models/architectures.py: docs/extending.md says how, and the load proves it right."
        )
    return row


def _module(
    folder: Path | str, checkpoint: Checkpoint, name: str, dtype: torch.dtype, options: dict[str, Any]
) -> torch.nn.Module:
    """Load the weights into the class the checkpoint names, and check that they are all in their places."""
    row = _row(checkpoint.config.get("model_type"), name)
    check_sizes(checkpoint, row, name)
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    cls = model_class(config, row, name)
    check_memory(checkpoint, config, cls, dtype, name)
    with _quantization_explained(checkpoint, name):
        module, report = cls.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=checkpoint.is_safe,
            weights_only=True,
            ignore_mismatched_sizes=True,  # they are in the report, by name
            output_loading_info=True,
            **options,
        )
    check_weights(module, report, checkpoint, row, name)
    if not checkpoint.is_safe:
        warnings.warn(f"{name}: no safetensors, .bin files were read (weights only, no code was run)", stacklevel=4)
    return module  # type: ignore[no-any-return]


@contextmanager
def _quantization_explained(checkpoint: Checkpoint, name: str) -> Iterator[None]:
    """Say that the weights are quantised, where transformers cannot load them without a package or a device."""
    if checkpoint.quantization is None:
        yield
        return
    if not any(known.startswith(checkpoint.quantization) for known in AUTO_QUANTIZER_MAPPING):
        raise ModelError(
            f"{name}: the weights are quantised ({checkpoint.quantization}), which transformers cannot read: give the plain model"
        )
    remedy = f"the weights are quantised ({checkpoint.quantization}): install what it needs, or give the plain model"
    with translate_loader_errors(name, remedy):
        yield


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
    if where.type == "meta":
        raise UsageError("device 'meta' holds no weights: try cpu, cuda, cuda:0 or mps")
    try:
        torch.empty(1, device=where)
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # which of them, each kind of device decides
        raise ModelError(f"device {device!r} is not available on this machine: use --device cpu") from error
    return where


def _hub_commit(hub_id: str, revision: str) -> str:
    with translate_loader_errors(hub_id), silence_loaders():
        return hub_commit(hub_id, revision)
