"""How many tokens a model takes, for every scheme of positions.

Learned positions
    The rows of their table, less those before the first position. The model cannot run more.
Rotary positions
    ``max_position_embeddings``, extended by the scaling of the rotary frequencies. The model can run longer texts, but was not
    trained for them.
ALiBi
    No limit.

For linear scaling ``max_position_embeddings`` has two uses: it is the length before the scaling in some published models
(Vicuna 16k: 4096, factor 4) and the extended length in others (DeepSeek Coder: 16384, factor 4). The configuration does not show
which, and transformers does not compute with it. LayerScope multiplies, as vLLM does. For a model of the second kind, set the
length of a capture (``--max-length``). Dynamic scaling has no such doubt: transformers computes with the length before scaling.
"""

import math
from typing import Any

from torch import nn

from layerscope.models.discovery.architecture import Architecture

__all__ = ["context_length", "learned_positions"]

# `factor` multiplies `original_max_position_embeddings`, or `max_position_embeddings` where a scaling lacks the former.
# "llama3" is not listed: Llama 3.2 has the factor 32 and extends 8192 to 131072 tokens, its `max_position_embeddings`.
_EXTENDING = ("linear", "dynamic", "yarn", "longrope")


def learned_positions(trunk: nn.Module, architecture: Architecture) -> int | None:
    """Return the number of positions that the model has learned; None for a model without learned positions."""
    if architecture.positions is None:
        return None
    table: Any = trunk.get_submodule(architecture.positions)
    return int(table.weight.shape[0]) - architecture.first_position


def context_length(config: Any) -> int | None:
    """Return the context of a model without learned positions; None where nothing limits it.

    Examples
    --------
    >>> import transformers
    >>> scaling = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    >>> context_length(transformers.LlamaConfig(max_position_embeddings=32, rope_parameters=scaling))
    128
    """
    longest = getattr(config, "max_position_embeddings", None)
    if longest is None or getattr(config, "alibi", False):
        return None
    scalings = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in scalings:
        return _extended(longest, scalings)
    # One scaling a kind of block: the kind with the shortest context limits the model.
    kinds = [scaling for scaling in scalings.values() if isinstance(scaling, dict)]
    return min((_extended(longest, scaling) for scaling in kinds), default=int(longest))


def _extended(longest: int, scaling: dict[str, Any]) -> int:
    factor = scaling.get("factor")
    if scaling.get("rope_type") not in _EXTENDING or not isinstance(factor, int | float) or not math.isfinite(factor):
        return int(longest)
    original = scaling.get("original_max_position_embeddings") or longest
    return max(int(longest), int(original * factor))
