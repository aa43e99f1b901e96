"""Check that a module is not compiled, and that its weights and buffers are here and finite."""

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.devices import loaded_tensors

__all__ = ["check_module", "float_types", "quantised_part"]

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_module(module: nn.Module, name: str) -> None:
    """Refuse a module that is compiled, has a weight without values, or a weight or buffer that is not finite.

    Raises
    ------
    ModelError
        With the name of the part.
    """
    _refuse_compiled(module, name)
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        with loaded_tensors(part) as tensors:
            for local, tensor in tensors:
                _refuse_absent(tensor, prefix + local, name)
                if local in part._parameters:
                    _refuse_bad_weight(tensor, prefix + local, name)
                else:
                    _refuse_bad_buffer(tensor, prefix + local, name)


def _refuse_compiled(module: nn.Module, name: str) -> None:
    for path, part in module.named_modules():
        if _is_compiled(part):
            raise ModelError(
                f"{name}: {path or 'the module'} is compiled (torch.compile), and a compiled graph shows no block.\n"
                "Give the module before it is compiled."
            )


def _is_compiled(part: nn.Module) -> bool:
    """Whether a module is compiled: wrapped, in place, or by its method ``forward``."""
    forward = vars(part).get("forward")
    by_forward = hasattr(forward, "_torchdynamo_orig_callable") and not hasattr(forward, "_torchdynamo_disable")
    return hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None or by_forward


def float_types(module: nn.Module) -> set[str]:
    """Return the floating-point types of the weights.

    Examples
    --------
    >>> sorted(float_types(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).half())))
    ['float16', 'float32']
    """
    return {str(weight.dtype).removeprefix("torch.") for weight in module.parameters() if weight.is_floating_point()}


def _refuse_absent(tensor: torch.Tensor, path: str, name: str) -> None:
    if tensor.is_meta:
        raise ModelError(f"{name}: {path} is on the device meta, so it has no values: load the weights first")
    if type(tensor).__name__ == "DTensor" or type(tensor.data).__name__ == "DTensor":
        raise ModelError(
            f"{name}: {path} is split over processes (DTensor): gather the weights into a plain model first"
        )


def _refuse_bad_weight(weight: torch.Tensor, path: str, name: str) -> None:
    plain = type(weight.data) is torch.Tensor  # others are packed, and look like plain numbers
    if plain and weight.dtype in _FLOATS and weight.numel():
        extremes = torch.stack(torch.aminmax(weight.detach()))  # both NaN where any value is; one pass, no copy
        if not extremes.isfinite().all():
            kind = "NaN" if extremes.isnan().any() else "Inf"
            raise ModelError(
                f"{name}: the weights contain {kind}, first in {path}. The checkpoint is damaged: fetch it again."
            )


def _refuse_bad_buffer(buffer: torch.Tensor, path: str, name: str) -> None:
    """Refuse NaN in buffers: attention may hide it, so the states would not show it."""
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
