"""The streams of a capture, by name. This module imports nothing of the package."""

from collections.abc import Mapping
from typing import Any

__all__ = ["STREAMS", "axis_word"]

STREAMS = {"resid": "hidden", "attn": "attn_out", "mlp": "mlp_out"}
"""The residual stream, and the contributions of attention and MLP of each block to it; with the variable of a capture, and the
field of `layerscope.states.StateRows`, that contains each."""


def axis_word(attrs: Mapping[Any, object]) -> str:
    """Return what an analysis or one of its variables has along ``layer``, from its attributes.

    Examples
    --------
    >>> axis_word({}), axis_word({"stream": "resid"}), axis_word({"stream": "mlp"})
    ('layer', 'layer', 'block')
    """
    return "layer" if attrs.get("stream", "resid") == "resid" else "block"
