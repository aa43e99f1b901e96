"""Is a module in memory fit to be observed: not compiled, and its numbers finite? Knows torch modules only."""

import torch
from torch import nn

from layerscope.errors import ModelError

__all__ = ["check_module", "quantised_part"]

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_module(module: nn.Module, name: str) -> None:
    """Refuse a module that is compiled, or has a weight or buffer that is not finite.

    Raises
    ------
    ModelError
        Naming the part.
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
                    f"{name}: the weights hold {kind}, first in {path}. The checkpoint is damaged: fetch it again."
                )


def _refuse_bad_buffers(module: nn.Module, name: str) -> None:
    """Attention may swallow a NaN, so the states would not show it."""
    for path, buffer in module.named_buffers():
        if buffer.is_floating_point() and buffer.isnan().any():
            raise ModelError(f"{name}: {path}, which the model computes from config.json, is NaN. Correct config.json.")


def quantised_part(module: nn.Module) -> str | None:
    """Name what is quantised in a module: its method, or the first part whose weights are no plain floating-point numbers."""
    settings = getattr(module.config, "quantization_config", None)
    if settings is not None:
        return str(getattr(settings, "quant_method", "an unknown method"))
    for path, part in module.named_modules():
        if "quantized" in type(part).__module__:
            return f"{path}: {type(part).__name__}"
        if any(weight.dtype not in _FLOATS for weight in part.parameters(recurse=False)):
            return f"{path}: {type(part).__name__}"
    return None
