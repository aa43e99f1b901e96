"""Read the rotary positions of a GGUF file as ``rope_parameters`` of transformers."""

import math
from collections.abc import Mapping
from typing import Any

from layerscope.errors import ModelError
from layerscope.models.gguf.file import GGUFFile

__all__ = ["rope_parameters"]

_BASE = 10_000.0
_SHARED, _SHORT, _LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"


def rope_parameters(file: GGUFFile, sizes: Mapping[str, Any], base: float | None = _BASE) -> dict[str, Any]:
    """Return ``rope_parameters`` of the configuration.

    Parameters
    ----------
    file
        The GGUF file.
    sizes
        ``head_dim`` and ``max_position_embeddings`` of the configuration.
    base
        The default base of the frequencies; None if the file must have it.

    Raises
    ------
    ModelError
        Rotary positions that cover only a part of each head, or an unknown scaling.
    """
    if file.get_own("rope.dimension_count", sizes["head_dim"]) != sizes["head_dim"]:
        raise file.value_error(
            "rope.dimension_count", f"is not the {sizes['head_dim']} of each head, which is not supported"
        )
    theta = file.get_own("rope.freq_base") if base is None else file.get_own("rope.freq_base", base)
    factor = file.get_own("rope.scaling.factor", file.get_own("rope.scale_linear", 1.0)) or 1.0
    for key, value in (("rope.freq_base", theta), ("rope.scaling.factor", factor)):
        if not 0 < value < math.inf:
            raise file.value_error(key, "must be a finite number above 0")
    kind = file.get_own("rope.scaling.type", "linear")
    if kind not in _SCALINGS:
        raise file.value_error("rope.scaling.type", f"is unknown (known: {', '.join(_SCALINGS)})")
    if kind in _SCALES_ANYWAY and _SHARED in file.tensors:
        return {"rope_theta": theta} | _stretched(file, sizes, kind, factor)
    return {"rope_theta": theta} | _SCALINGS[kind](file, sizes, factor)


def _none(file: GGUFFile, sizes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    return {"rope_type": "default"}


def _linear(file: GGUFFile, sizes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    return {"rope_type": "default"} if factor == 1 else {"rope_type": "linear", "factor": float(factor)}


def _yarn(file: GGUFFile, sizes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Read YaRN. Its attention factor defaults to 1 + ln(factor) / 10."""
    found = {
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": file.get_own(
            "rope.scaling.original_context_length", sizes["max_position_embeddings"]
        ),
        "beta_fast": file.get_own("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": file.get_own("rope.scaling.yarn_beta_slow", 1.0),
    }
    usual = 1 + math.log(max(factor, 1)) / 10
    of_all = file.get_own("rope.scaling.attn_factor", 1.0) * usual
    return found | {"attention_factor": float(file.get_own("rope.scaling.yarn_attn_factor", of_all))}


def _longrope(file: GGUFFile, sizes: Mapping[str, Any], factor: float) -> dict[str, Any]:
    if factor != 1:
        raise file.value_error("rope.scaling.factor", "together with factors for each frequency is not supported")
    limit = file.get_own("rope.scaling.original_context_length", sizes["max_position_embeddings"])
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "short_factor": _factors(file, _SHORT, sizes),
        "long_factor": _factors(file, _LONG, sizes),
        "attention_factor": float(file.get_own("rope.scaling.attn_factor", 1.0)),
        "original_max_position_embeddings": limit,
    }


_SCALINGS = {"none": _none, "linear": _linear, "yarn": _yarn, "longrope": _longrope}
_SCALES_ANYWAY = ("none", "linear")


def _stretched(file: GGUFFile, sizes: Mapping[str, Any], kind: str, factor: float) -> dict[str, Any]:
    """Read a factor for each wavelength, as in Llama 3: LongRoPE with the same list for all lengths."""
    scale = factor if kind == "linear" else 1.0
    factors = [scale * each for each in _factors(file, _SHARED, sizes)]
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.0,
        "original_max_position_embeddings": sizes["max_position_embeddings"],
    }


def _factors(file: GGUFFile, tensor: str, sizes: Mapping[str, Any]) -> list[float]:
    if tensor not in file.tensors:
        raise ModelError(f"{file.path}: the tensor {tensor} is missing, and the positions cannot be built without it")
    if (shape := file.shape(tensor)) != (sizes["head_dim"] // 2,):
        raise ModelError(f"{file.path}: the tensor {tensor} has shape {shape}, not ({sizes['head_dim'] // 2},)")
    return [float(each) for each in file.values(tensor)]
