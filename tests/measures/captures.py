"""Small captures in memory, for the tests of the measures."""

import numpy as np
import xarray


def capture(
    states: np.ndarray,
    lengths: list[int] | None = None,
    *,
    layer: list[int] | None = None,
    token_id: np.ndarray | None = None,
    attrs: dict[str, str] | None = None,
) -> xarray.Dataset:
    """Make a Dataset of ``states[token, layer, feature]``, the tokens dealt to sequences of these lengths."""
    tokens, layers, _ = states.shape
    lengths = [tokens] if lengths is None else lengths
    assert sum(lengths) == tokens
    position = np.concatenate([np.arange(length) for length in lengths])
    layer = list(range(layers)) if layer is None else layer
    names = ["embedding" if number == 0 else f"block.{number - 1}" for number in layer]
    return xarray.Dataset(
        {"hidden": (("token", "layer", "feature"), states)},
        {
            "layer": layer,
            "layer_name": ("layer", names),
            "sequence_index": ("token", np.repeat(np.arange(len(lengths)), lengths)),
            "position": ("token", position),
            "token_id": ("token", np.arange(tokens) % 97 if token_id is None else token_id),
        },
        attrs,
    )


def walk(tokens: int, layers: int, width: int, seed: int = 0, dtype: type = np.float64) -> np.ndarray:
    """Draw states like a residual stream: each layer adds to the one before, and features differ in mean and scale."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(tokens, layers, width)) * rng.uniform(0.5, 2, size=(layers, width))
    return (np.cumsum(steps, axis=1) + rng.normal(size=width)).astype(dtype)
