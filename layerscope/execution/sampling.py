"""How the next token is chosen in generation. This module imports no model."""

import math
from typing import Any

from layerscope.errors import UsageError

__all__ = ["sampling_options"]

_MIN_TEMPERATURE = 1e-4  # logits divided by less overflow float32


def sampling_options(temperature: float) -> dict[str, Any]:
    """Return the options of generation for a temperature.

    Raises
    ------
    UsageError
        It is negative, not finite, or too small to divide by.
    """
    if not 0 <= temperature < math.inf:
        raise UsageError(f"temperature {temperature}: must be a number of 0 or more")
    if 0 < temperature < _MIN_TEMPERATURE:
        raise UsageError(f"temperature {temperature}: give at least {_MIN_TEMPERATURE}, or 0 for the most likely token")
    if temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": temperature, "top_k": 0}  # the default of the library is the top 50
