"""Read a model from its files: a folder, a hub id, a GGUF file, or an adapter with its base model.

Weights are read from safetensors if present, and from ``.bin`` files with ``weights_only=True`` otherwise. Code of a checkpoint
runs only on request.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from layerscope.errors import ModelError, UsageError
from layerscope.models import gguf
from layerscope.models.adapter import Adapter, find_adapter
from layerscope.models.attention import Attention, attention_explained, attention_option
from layerscope.models.checkpoint import Checkpoint, open_folder, open_hub
from layerscope.models.config_check import check_memory, check_sizes, model_class
from layerscope.models.config_keys import check_keys, check_numbers
from layerscope.models.devices import (
    DeviceMap,
    find_device,
    offload_folder,
    read_device_map,
    refuse_nested_parts,
    refuse_unknown_parts,
    spread,
)
from layerscope.models.identity import Identity, identify
from layerscope.models.image_processor import load_image_processor
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.tokenizer import load_tokenizer
from layerscope.models.weight_report import check_weights
from layerscope.models.weight_sets import check_weight_sets
from layerscope.progress import progress

__all__ = ["DTYPES", "Placement", "StoredModel", "read_model"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """In which type and on which devices a model is loaded, and how it computes attention.

    Attributes
    ----------
    dtype
        The dtype of the computation.
    device
        The one device; ignored with a map.
    device_map
        A strategy of accelerate, or the device of each part; None for one device.
    attn
        The implementation of attention; None for that of the model.
    """

    dtype: torch.dtype
    device: torch.device
    device_map: str | dict[str, str] | None
    attn: Attention | None = None

    @classmethod
    def of(
        cls, dtype: str | None, device: str | None, device_map: DeviceMap | None, attn: Attention | None = None
    ) -> "Placement":
        """Read the options of `layerscope.load_model`.

        Raises
        ------
        UsageError
            The dtype, a device or the attention is unknown, or both a device and a map are given.
        ModelError
            This machine does not have a device.
        """
        dtype = dtype or "float32"
        if dtype not in DTYPES:
            raise UsageError(f"unknown dtype {dtype!r}: choose {', '.join(DTYPES)}")
        if device is not None and device_map is not None:
            raise UsageError("--device and --device-map exclude each other: one device, or several")
        spread_over = None if device_map is None else read_device_map(device_map)
        attention_option(attn)
        return cls(DTYPES[dtype], find_device(device or "cpu"), spread_over, attn)


@dataclass(frozen=True)
class StoredModel:
    """A model that was read from files.

    Attributes
    ----------
    module
        The Hugging Face module, or one of PEFT around it.
    name
        The name of the model.
    fingerprint
        Returns the name of the weights, or an empty one as soon as the files have changed.
    tokenizer
        Loads the tokenizer.
    image_processor
        Loads the image processor; it returns None where none is stored.
    """

    module: nn.Module
    name: str
    fingerprint: Callable[[], str]
    tokenizer: Callable[[], Any]
    image_processor: Callable[[], Any]


def read_model(who: Identity, placement: Placement, trust_remote_code: bool = False) -> StoredModel:
    """Read a model from its files, check them, and put it on its devices.

    Raises
    ------
    ModelError
        A file is missing or damaged, or the files are not of one model.
    """
    with translate_loader_errors(who.name), silence_loaders():
        adapter = None if who.is_file else find_adapter(who.folder, who.revision)
    if adapter is not None:
        return _read_adapted(who, adapter, placement, trust_remote_code)
    folder, remedy = who.folder, None
    fingerprint = who.fingerprint_while_unchanged()
    if who.is_file:
        folder = gguf.convert(Path(folder))
        remedy = f"delete {folder}, and it is converted again"
    with translate_loader_errors(who.name, remedy), silence_loaders():
        checkpoint = open_folder(folder) if isinstance(folder, Path) else open_hub(folder, who.revision)
        # All files from the hub are of one commit, even if its branch moves meanwhile.
        revision = who.revision if isinstance(folder, Path) else checkpoint.folder.name
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        with progress(f"loading {who.name}"):
            module: Any = _module(folder, checkpoint, who.name, placement, options)
    if not isinstance(folder, Path):
        fingerprint = partial(str, revision)
    if placement.device_map is None:
        module = module.to(placement.device)
    return StoredModel(
        module,
        who.name,
        fingerprint,
        partial(load_tokenizer, folder, who.name, remedy, options),
        partial(load_image_processor, folder, who.name, options),
    )


def _read_adapted(who: Identity, adapter: Adapter, placement: Placement, trust_remote_code: bool) -> StoredModel:
    """Read the base model of an adapter, and put the adapter into it."""
    whole = replace(placement, device=torch.device("cpu"), device_map=None)  # the adapter goes in before it is spread
    with _base_named(who.name, adapter):
        base = read_model(identify(adapter.base), whole, trust_remote_code)
    own = adapter.fingerprint()

    def fingerprint() -> str:
        of_base = base.fingerprint()
        return of_base and f"{of_base} + {own}"

    def tokenizer() -> Any:
        stored = load_tokenizer(adapter.folder, who.name, None, {"revision": "main", "trust_remote_code": False})
        return base.tokenizer() if stored is None else stored

    adapted = adapter.put_into(base.module, who.name)
    if placement.device_map is None:
        adapted = adapted.to(placement.device)
    else:
        with translate_loader_errors(who.name, "give another device map"):
            spread(adapted, placement.device_map, who.name)
    return StoredModel(adapted, who.name, fingerprint, tokenizer, base.image_processor)


@contextmanager
def _base_named(name: str, adapter: Adapter) -> Iterator[None]:
    """Name the adapter in errors about its base model."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{name}: its base model cannot be loaded: {error}") from error


def _module(
    folder: Path | str, checkpoint: Checkpoint, name: str, placement: Placement, options: dict[str, Any]
) -> nn.Module:
    """Load the weights into the class that the checkpoint names, and check that all are used."""
    check_sizes(checkpoint, name)
    check_numbers(checkpoint.config, name)
    check_weight_sets(checkpoint, name)
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    cls = model_class(config, name)
    check_keys(checkpoint.config, config, _concrete(cls, config), name)
    outline = check_memory(
        checkpoint, config, cls, placement.dtype, name, several_devices=placement.device_map is not None
    )
    with (
        _quantization_explained(checkpoint, name),
        attention_explained(placement.attn, name),
        _spread_explained(placement, outline, name) as where,
    ):
        module, report = cls.from_pretrained(
            folder,
            config=config,
            dtype=placement.dtype,
            use_safetensors=checkpoint.is_safe,
            weights_only=True,
            ignore_mismatched_sizes=True,  # the report names them
            output_loading_info=True,
            **attention_option(placement.attn),
            **where,
            **options,
        )
    check_weights(module, report, checkpoint, name)
    if not checkpoint.is_safe:
        warnings.warn(f"{name}: no safetensors, .bin files were read (weights only, no code was run)", stacklevel=6)
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


@contextmanager
def _spread_explained(placement: Placement, outline: nn.Module, name: str) -> Iterator[dict[str, Any]]:
    """Yield the options that spread a model over devices, and explain their errors."""
    if placement.device_map is None:
        yield {}
        return
    refuse_unknown_parts(placement.device_map, outline, name)
    refuse_nested_parts(placement.device_map, name)
    with translate_loader_errors(name, "give another device map"), offload_folder() as folder:
        yield {"device_map": placement.device_map, "offload_folder": folder}
