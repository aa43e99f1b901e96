"""Check that a configuration is possible and of the same model as the weights, before anything large is built.

A damaged configuration may claim a billion blocks. Its sizes are compared with the names and shapes of the stored weights, and
the memory of the model with that of the machine.
"""

import os
import re
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from layerscope.errors import ModelError
from layerscope.models.checkpoint import Checkpoint

__all__ = ["check_memory", "check_sizes", "is_decoder", "model_class"]

_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)

_FIRST_NUMBER = re.compile(r"(\D*)\b(\d+)\.")

_MOST_LABELS = 10**6  # transformers makes a name for each label

# A model may have values that its checkpoint lacks, such as a head: up to four times as many plus 2**28 (1 GiB in float32).
_MORE, _FEW = 4, 2**28


def check_sizes(checkpoint: Checkpoint, name: str) -> None:
    """Check the sizes in ``config.json``, and the number of blocks against the weights.

    This runs before transformers reads the file, since some configuration classes make a list with one item for each block.

    Raises
    ------
    ModelError
        The family is unknown, a size is not a whole number of 1 or more, or there are more blocks than the weights have.
    """
    family = checkpoint.config.get("model_type")
    known = isinstance(family, str) and family in transformers.CONFIG_MAPPING
    if not known and "auto_map" not in checkpoint.config:
        raise ModelError(
            f"{name}: config.json has model_type {family!r}: it is no family of transformers {transformers.__version__}"
        )
    aliases = transformers.CONFIG_MAPPING[family].attribute_map if known else {}
    sizes = {
        key: checkpoint.config[key] for size in _SIZES for key in (size, aliases.get(size)) if key in checkpoint.config
    }
    for key, value in sizes.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ModelError(f"{name}: config.json has {key} {value!r}: it must be a whole number of 1 or more")
    labels = checkpoint.config.get("num_labels")
    if labels is not None and (not isinstance(labels, int) or not 0 <= labels <= _MOST_LABELS):
        raise ModelError(
            f"{name}: config.json has num_labels {labels!r}: it must be a whole number up to {_MOST_LABELS:,}"
        )
    stored = _stored_blocks(checkpoint)
    for key in ("num_hidden_layers", aliases.get("num_hidden_layers")):
        if (sizes.get(key) or 0) > stored:
            raise ModelError(
                f"{name}: config.json has {key} {sizes[key]}, the weights have {stored} blocks.\n"
                "They are not of one model, or files of weights are missing: fetch the model again."
            )


def _stored_blocks(checkpoint: Checkpoint) -> int:
    """Return the number of items of the longest outermost list in the names of the weights: not fewer than the blocks."""
    items: dict[str, set[str]] = {}
    for found in filter(None, map(_FIRST_NUMBER.match, checkpoint.tensors)):
        items.setdefault(found[1], set()).add(found[2])
    return max(map(len, items.values()), default=0)


def model_class(config: Any, name: str) -> Any:
    """Return the class that the checkpoint names, so that a checkpoint without a head gets none.

    Raises
    ------
    ModelError
        The class belongs to another family.
    """
    fallback = transformers.AutoModelForCausalLM if is_decoder(config) else transformers.AutoModel
    named = (config.architectures or [None])[0]
    cls = getattr(transformers, named, None) if isinstance(named, str) else None
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        return fallback
    if not isinstance(config, getattr(cls, "config_class", None) or object):
        raise ModelError(f"{name}: config.json has the family {config.model_type} and a class of another, {named}")
    return cls


def is_decoder(config: Any) -> bool:
    """Whether transformers has a causal model of a family, and no masked one."""
    causal, masked = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in causal and config.model_type not in masked


def check_memory(
    checkpoint: Checkpoint, config: Any, cls: Any, dtype: torch.dtype, name: str, *, several_devices: bool = False
) -> nn.Module:
    """Check that the model is about as large as its stored weights, and that the machine can hold it.

    The model is built on torch's device ``meta``, without memory for its values, and returned. Over several devices, disks among
    them, the memory of the machine is no limit.

    Raises
    ------
    ModelError
        The model is much larger than its weights, or larger than the memory of the machine.
    """
    with torch.device("meta"):
        module: nn.Module = cls.from_config(config) if hasattr(cls, "from_config") else cls(config)
    needed = sum(value.numel() for value in (*module.parameters(), *module.buffers()))
    stored = sum(tensor.size for tensor in checkpoint.tensors.values())
    if needed > _MORE * stored + _FEW and checkpoint.quantization is None:
        raise ModelError(
            f"{name}: config.json describes a model of {needed:,} values, the weights have {stored:,}.\n"
            "They are not of one model, or files of weights are missing: fetch the model again."
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed * dtype.itemsize > memory and not several_devices:
        raise ModelError(
            f"{name}: the model takes {needed * dtype.itemsize / 1e9:,.0f} GB, this machine has {memory / 1e9:,.0f} GB"
            + (
                ": give --dtype bfloat16, use a larger machine, or spread it (--device-map auto)"
                if dtype == torch.float32
                else ": use a larger machine, or spread it (--device-map auto)"
            )
        )
    return module
