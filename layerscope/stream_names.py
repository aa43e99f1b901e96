"""The streams of a capture, by name. This module imports nothing."""

__all__ = ["STREAMS"]

STREAMS = {"resid": "hidden", "attn": "attn_out", "mlp": "mlp_out"}
"""The residual stream, and the contributions of attention and MLP of each block to it; with the variable of a capture, and the
field of `layerscope.states.StateRows`, that contains each."""
