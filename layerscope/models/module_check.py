"""Check that a module is a model of transformers, not compiled, with finite weights and buffers."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from layerscope.errors import ModelError

__all__ = ["check_module", "quantised_part", "refuse_wrapper"]

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def refuse_wrapper(module: Any, name: str) -> None:
    """Refuse a module that only contains a transformers model: an adapter of PEFT, a model spread over devices.

    Raises
    ------
    ModelError
        With how to get the model out of it.
    """
    if isinstance(module, PreTrainedModel):
        return
    kind = type(module).__name__
    if hasattr(module, "get_base_model"):
        raise ModelError(
            f"{name}: {kind} is an adapter around a model: give its get_base_model(), in which the adapter runs, "
            "or merge it first (merge_and_unload)"
        )
    remedy = "give its .module" if isinstance(getattr(module, "module", None), nn.Module) else "give one"
    raise ModelError(f"{name}: {kind} is not a model of transformers (PreTrainedModel): {remedy}")


def check_module(module: nn.Module, name: str) -> None:
    """Refuse a module that is compiled, or has a weight or buffer that is not finite.

    Raises
    ------
    ModelError
        With the name of the part.
    """
    _refuse_compiled(module, name)
    _refuse_bad_weights(module, name)
    _refuse_bad_buffers(module, name)


def _refuse_compiled(module: nn.Module, name: str) -> None:
    for path, part in module.named_modules():
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            raise ModelError(
                f"{name}: {path or 'the module'} is compiled (torch.compile), and a compiled graph shows no block.\n"
                "Give the module before it is compiled."
            )


def _refuse_bad_weights(module: nn.Module, name: str) -> None:
    for path, parameter in module.named_parameters():
        if parameter.dtype in _FLOATS and parameter.numel():
            extremes = torch.stack(torch.aminmax(parameter.detach()))  # both NaN where any value is; one pass, no copy
            if not extremes.isfinite().all():
                kind = "NaN" if extremes.isnan().any() else "Inf"
                raise ModelError(
                    f"{name}: the weights contain {kind}, first in {path}. The checkpoint is damaged: fetch it again."
                )


def _refuse_bad_buffers(module: nn.Module, name: str) -> None:
    """Refuse NaN in buffers: attention may hide it, so the states would not show it."""
    for path, buffer in module.named_buffers():
        if buffer.is_floating_point() and buffer.isnan().any():
            raise ModelError(f"{name}: {path}, which the model computes from config.json, is NaN. Correct config.json.")


def quantised_part(module: nn.Module) -> str | None:
    """Return the quantisation method of a module, or its first part with weights that are not floating-point; None if plain."""
    settings = getattr(module.config, "quantization_config", None)
    if settings is not None:
        return str(getattr(settings, "quant_method", "an unknown method"))
    for path, part in module.named_modules():
        if "quantized" in type(part).__module__:
            return f"{path}: {type(part).__name__}"
        if any(weight.dtype not in _FLOATS for weight in part.parameters(recurse=False)):
            return f"{path}: {type(part).__name__}"
    return None
