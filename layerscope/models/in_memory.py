"""Take the model out of a module in memory: a model of transformers, a compiled one, or one with an adapter of PEFT."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from layerscope.errors import ModelError
from layerscope.models.devices import input_device
from layerscope.models.eval_mode import eval_mode

__all__ = ["name_in_memory", "plain_model"]

_COMPILED = "_orig_mod"  # where torch.compile keeps the module that it compiles
_TOKENS = 7


def plain_model(module: Any, name: str) -> PreTrainedModel:
    """Return the model of transformers inside a module: under ``torch.compile``, or with an adapter of PEFT.

    An adapter runs inside the model, as parts of its blocks, so the states are those with the adapter. It is proved: the model
    alone gives the output of the whole.

    Raises
    ------
    ModelError
        The module is or contains no model of transformers, or the adapter runs outside the model.
    """
    if hasattr(module, _COMPILED):  # the compiled graph shows no block, the module that it was made from does
        return plain_model(getattr(module, _COMPILED), name)
    if isinstance(module, PreTrainedModel):
        return module
    if hasattr(module, "peft_config"):
        return _adapted(module, name)
    raise ModelError(
        f"{name}: {type(module).__name__} is not a model of transformers (PreTrainedModel): {_remedy(module)}"
    )


def name_in_memory(module: Any) -> str:
    """Return the name of a model in memory: its checkpoint's, or its class without one.

    Examples
    --------
    >>> name_in_memory(nn.Identity())
    'Identity'
    """
    module = getattr(module, _COMPILED, module)
    source = getattr(getattr(module, "config", None), "name_or_path", None)
    named = str(source) if isinstance(source, str) and source else ""
    adapters = getattr(module, "active_adapters", None) if hasattr(module, "peft_config") else None
    if isinstance(adapters, list) and adapters:
        base = name_in_memory(_inside(module)) if not named else _short(named)
        return f"{base} with adapter {', '.join(adapters)}"
    return _short(named) if named else type(module).__name__


def _short(source: str) -> str:
    """Return the name of a folder as for a model that is loaded from it; a hub id is its own name."""
    path = Path(source)
    return path.resolve().name if path.is_absolute() or path.is_dir() else source


def _inside(module: Any) -> Any:
    """Return the module that an adapter of PEFT is for."""
    base = module.base_model  # a tuner, which keeps the model; under prompt tuning the model itself
    return base if isinstance(base, PreTrainedModel) else getattr(base, "model", base)


def _adapted(module: Any, name: str) -> PreTrainedModel:
    model = plain_model(_inside(module), name)
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(5, 5 + _TOKENS).remainder(rows)[None].to(input_device(model))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with eval_mode(module), torch.no_grad():
        whole, alone = module(**inputs)[0], model(**inputs)[0]
    if not torch.equal(whole, alone):
        kinds = ", ".join(sorted({type(config).__name__ for config in module.peft_config.values()}))
        raise ModelError(
            f"{name}: the adapter ({kinds}) runs outside the model, which without it gives another output.\n"
            "Its states cannot be captured: give an adapter that changes the blocks, such as LoRA."
        )
    return model


def _remedy(module: Any) -> str:
    if "FullyShardedDataParallel" in type(module).__name__:
        return "its weights are split over processes: gather them into a plain model first"
    if isinstance(getattr(module, "module", None), nn.Module):
        return "give its .module"
    inner = [path for path, part in getattr(module, "named_modules", list)() if isinstance(part, PreTrainedModel)]
    return f"give its .{inner[0]}" if inner else "give one"
