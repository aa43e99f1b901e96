"""Tensors that llama.cpp stores in another arrangement than transformers does, brought back. Arrays only."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "Change",
    "interleave_groups",
    "interleave_heads",
    "subtract_one",
    "transpose",
    "unpair_keys",
    "unpair_queries",
]

Change = Callable[[np.ndarray, Any], np.ndarray]  # of the values and the configuration


def unpair_queries(stored: np.ndarray, config: Any) -> np.ndarray:
    """Undo the pairing of rotated rows: in each head row i turns with row i + half, where llama.cpp has 2i with 2i + 1."""
    return _unpair(stored, config.num_attention_heads)


def unpair_keys(stored: np.ndarray, config: Any) -> np.ndarray:
    """Undo the pairing of rotated rows, for heads that share their keys."""
    return _unpair(stored, config.num_key_value_heads)


def _unpair(stored: np.ndarray, heads: int) -> np.ndarray:
    pairs = stored.reshape(heads, stored.shape[0] // heads // 2, 2, *stored.shape[1:])
    return pairs.swapaxes(1, 2).reshape(stored.shape)


def subtract_one(stored: np.ndarray, config: Any) -> np.ndarray:
    """Gemma's norms multiply by one more than the weight, which is what the file holds."""
    return stored - 1


def transpose(stored: np.ndarray, config: Any) -> np.ndarray:
    """GPT-2 keeps its weights with inputs as rows."""
    return stored.T


def interleave_heads(stored: np.ndarray, config: Any) -> np.ndarray:
    """BLOOM has the queries, keys and values of a head together; the file has all queries, then all keys, then all values."""
    width = config.hidden_size // config.n_head
    return stored.reshape(3, config.n_head, width, *stored.shape[1:]).swapaxes(0, 1).reshape(stored.shape)


def interleave_groups(stored: np.ndarray, config: Any) -> np.ndarray:
    """Falcon has the queries of a group of heads together with the key and the value they share."""
    groups, width = config.num_kv_heads, config.hidden_size // config.num_attention_heads
    cuts = [config.hidden_size, config.hidden_size + groups * width]
    parts = [part.reshape(groups, -1, width, *stored.shape[1:]) for part in np.split(stored, cuts)]
    return np.concatenate(parts, axis=1).reshape(stored.shape)
