"""Small captures in memory, for the tests of the measures."""

import numpy as np
import torch
import xarray

from layerscope.states import StateRows


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
    before = [place for place, number in enumerate(layer) if number + 1 in layer]
    stream, after = states[:, before], states[:, [layer.index(layer[place] + 1) for place in before]]
    attn, mlp = contributions(stream, after)
    block = [layer[place] for place in before]
    return xarray.Dataset(
        {
            "hidden": (("token", "layer", "feature"), states),
            "attn_out": (("token", "block", "feature"), attn),
            "mlp_out": (("token", "block", "feature"), mlp),
        },
        {
            "block": block,
            "block_name": ("block", [f"block.{number}" for number in block]),
            "layer": layer,
            "layer_name": ("layer", names),
            "sequence_index": ("token", np.repeat(np.arange(len(lengths)), lengths)),
            "position": ("token", position),
            "token_id": ("token", np.arange(tokens) % 97 if token_id is None else token_id),
        },
        attrs,
    )


def state_rows(states: np.ndarray, chosen: np.ndarray, lengths: list[int]) -> StateRows:
    """Return some rows as a capture passes them on, with what attention and MLP of each block add."""
    position = np.concatenate([np.arange(length) for length in lengths])[chosen]
    sequence = np.repeat(np.arange(len(lengths)), lengths)[chosen]
    part = states[chosen]
    attn, mlp = map(torch.from_numpy, contributions(part[:, :-1], part[:, 1:]))
    hidden = torch.from_numpy(part)
    return StateRows(hidden, chosen, sequence, position, chosen % 97, attn_out=attn, mlp_out=mlp)


def contributions(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide what blocks add into what attention and MLP may have added."""
    with np.errstate(invalid="ignore"):  # of states that are no numbers
        attn = np.float32(0.25) * (after - before) + np.float32(0.5) * before
        return attn, after - before - attn


def walk(tokens: int, layers: int, width: int, seed: int = 0, dtype: type = np.float64) -> np.ndarray:
    """Draw states like a residual stream: each layer adds to the one before, and features differ in mean and scale."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(tokens, layers, width)) * rng.uniform(0.5, 2, size=(layers, width))
    return (np.cumsum(steps, axis=1) + rng.normal(size=width)).astype(dtype)
