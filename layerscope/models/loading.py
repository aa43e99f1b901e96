"""Load a model by hub id, folder or GGUF file.

Weights are read from safetensors if present, and from ``.bin`` files with ``weights_only=True`` otherwise. Code of a checkpoint
runs only on request. Every model is checked (`layerscope.models.architecture_check`) before it is returned.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from layerscope.arguments import checked
from layerscope.errors import ModelError, UsageError
from layerscope.models import gguf
from layerscope.models.architecture_check import check_architecture
from layerscope.models.architectures import ARCHITECTURES, Architecture
from layerscope.models.checkpoint import Checkpoint, open_folder, open_hub
from layerscope.models.config_check import check_memory, check_sizes, model_class
from layerscope.models.config_keys import check_keys, check_numbers
from layerscope.models.identity import identify
from layerscope.models.length_probe import measure_length_dependence
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.model import Model
from layerscope.models.module_check import refuse_wrapper
from layerscope.models.token_ids import TokenizerLike, check_tokenizer
from layerscope.models.tokenizer import load_tokenizer
from layerscope.models.weight_identity import WeightIdentity
from layerscope.models.weight_report import check_weights
from layerscope.models.weight_sets import check_weight_sets

__all__ = ["DTYPES", "load_model", "wrap_module"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@checked
def load_model(
    source: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Model:
    """Load a model, find its parts and check them.

    Parameters
    ----------
    source
        A hub id (``"EleutherAI/pythia-70m"``, ``"EleutherAI/pythia-70m@step1000"``), a folder, or a ``.gguf`` file. A GGUF
        file is converted once and kept under the cache by the hash of its content.
    dtype
        The dtype of the computation: ``"float32"``, ``"bfloat16"`` or ``"float16"``, independent of the checkpoint.
    device
        A torch device, such as ``"cpu"`` or ``"cuda:0"``.
    trust_remote_code
        Run the modelling code of the checkpoint.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        The dtype or the device is unknown.
    ModelError
        The model is missing or damaged, its family has no row in the architecture table, or the row does not hold.

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
    fingerprint = who.fingerprint_while_unchanged()
    if isinstance(folder, Path) and folder.suffix == ".gguf":
        folder = gguf.convert(folder)
        remedy = f"delete {folder}, and it is converted again"
    with translate_loader_errors(who.name, remedy), silence_loaders():
        checkpoint = open_folder(folder) if isinstance(folder, Path) else open_hub(folder, who.revision)
        # All files from the hub are of one commit, even if its branch moves meanwhile.
        revision = who.revision if isinstance(folder, Path) else checkpoint.folder.name
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        module = _module(folder, checkpoint, who.name, DTYPES[dtype], options)
    tokenizer = load_tokenizer(folder, who.name, remedy, options)
    if not isinstance(folder, Path):
        fingerprint = partial(str, revision)
    return wrap_module(module.to(where), tokenizer, name=who.name, fingerprint=fingerprint)


@checked
def wrap_module(
    module: torch.nn.Module,
    tokenizer: TokenizerLike | None = None,
    *,
    name: str,
    fingerprint: Callable[[], str] = str,
) -> Model:
    """Make a `Model` from a Hugging Face module that is already in memory, and check it.

    Parameters
    ----------
    module
        The module. An adapter of PEFT is given as its ``get_base_model()``, in which the adapter runs.
    tokenizer
        Its tokenizer; None where only token ids are used.
    name
        The name of the model in results.
    fingerprint
        Returns the name of the weights in results, until they are changed. Without a name, results carry a checksum
        of the values; see `layerscope.models.weight_identity`.

    Raises
    ------
    ModelError
        The family has no row in the architecture table, the row does not hold, or a part of the module is compiled.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> model = wrap_module(transformers.AutoModelForCausalLM.from_config(config), name="tiny")
    >>> model.depth, model.width
    (2, 8)
    """
    plain: Any = getattr(module, "_orig_mod", module)  # under torch.compile, whose graph shows no block
    refuse_wrapper(plain, name)
    model = Model(plain.eval(), tokenizer, name, _row(plain.config.model_type, name))
    check_architecture(model)
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.vocabulary_size, name)
    identity = WeightIdentity(plain, fingerprint)
    return replace(model, fingerprint=identity, length_dependence=measure_length_dependence(model))


def _row(family: object, name: str) -> Architecture:
    row = ARCHITECTURES.get(family) if isinstance(family, str) else None
    if row is None:
        raise ModelError(
            f"{name}: the family {family!r} is not in the architecture table ({', '.join(ARCHITECTURES)}).\n"
            "Add a row to layerscope/models/architectures.py, as docs/extending.md explains; the next load checks it."
        )
    return row


def _module(
    folder: Path | str, checkpoint: Checkpoint, name: str, dtype: torch.dtype, options: dict[str, Any]
) -> torch.nn.Module:
    """Load the weights into the class that the checkpoint names, and check that all are used."""
    row = _row(checkpoint.config.get("model_type"), name)
    check_sizes(checkpoint, row, name)
    check_numbers(checkpoint.config, name)
    check_weight_sets(checkpoint, name)
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    cls = model_class(config, row, name)
    check_keys(checkpoint.config, config, _concrete(cls, config), name)
    check_memory(checkpoint, config, cls, dtype, name)
    with _quantization_explained(checkpoint, name):
        module, report = cls.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=checkpoint.is_safe,
            weights_only=True,
            ignore_mismatched_sizes=True,  # the report names them
            output_loading_info=True,
            **options,
        )
    check_weights(module, report, checkpoint, row, name)
    if not checkpoint.is_safe:
        warnings.warn(f"{name}: no safetensors, .bin files were read (weights only, no code was run)", stacklevel=4)
    return module  # type: ignore[no-any-return]


def _concrete(cls: Any, config: Any) -> type:
    """Return the class that an automatic class resolves to."""
    mapping = getattr(cls, "_model_mapping", None)
    concrete: type = cls if mapping is None or type(config) not in mapping else mapping[type(config)]
    return concrete


@contextmanager
def _quantization_explained(checkpoint: Checkpoint, name: str) -> Iterator[None]:
    """Explain errors of quantised weights, for which transformers may need a package or a device."""
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


def _device(device: str) -> torch.device:
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}: try cpu, cuda, cuda:0 or mps") from error
    if where.type == "meta":
        raise UsageError("device 'meta' has no weights: try cpu, cuda, cuda:0 or mps")
    try:
        torch.empty(1, device=where)
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # depends on the kind of device
        raise ModelError(f"device {device!r} is not available on this machine: use --device cpu") from error
    return where
