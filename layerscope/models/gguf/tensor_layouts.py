"""Restore tensors that llama.cpp stores in another layout than transformers. Arrays only."""

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
    """Restore the order of rotary rows in queries: transformers rotates row i with row i + half, llama.cpp 2i with 2i + 1."""
    return _unpair(stored, config.num_attention_heads)


def unpair_keys(stored: np.ndarray, config: Any) -> np.ndarray:
    """Restore the order of rotary rows in keys, of which there are fewer heads."""
    return _unpair(stored, config.num_key_value_heads)


def _unpair(stored: np.ndarray, heads: int) -> np.ndarray:
    pairs = stored.reshape(heads, stored.shape[0] // heads // 2, 2, *stored.shape[1:])
    return pairs.swapaxes(1, 2).reshape(stored.shape)


def subtract_one(stored: np.ndarray, config: Any) -> np.ndarray:
    """Restore the norms of Gemma, which multiply by 1 + weight: the file stores the sum."""
    return stored - 1


def transpose(stored: np.ndarray, config: Any) -> np.ndarray:
    """Restore the weights of GPT-2, whose rows are inputs."""
    return stored.T


def interleave_heads(stored: np.ndarray, config: Any) -> np.ndarray:
    """Restore BLOOM, which keeps queries, keys and values of a head together; the file has all queries, all keys, all values."""
    width = config.hidden_size // config.n_head
    return stored.reshape(3, config.n_head, width, *stored.shape[1:]).swapaxes(0, 1).reshape(stored.shape)


def interleave_groups(stored: np.ndarray, config: Any) -> np.ndarray:
    """Restore Falcon, which keeps the queries of a group of heads together with their shared key and value."""
    groups, width = config.num_kv_heads, config.hidden_size // config.num_attention_heads
    cuts = [config.hidden_size, config.hidden_size + groups * width]
    parts = [part.reshape(groups, -1, width, *stored.shape[1:]) for part in np.split(stored, cuts)]
    return np.concatenate(parts, axis=1).reshape(stored.shape)
