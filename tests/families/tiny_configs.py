"""Shrink the configuration of any model type of transformers, by the names of its settings.

A setting is recognised by its name and keeps its kind: a window stays a window, but shorter than the test texts. Settings for
each layer keep all their kinds. What names do not tell is in `OVERRIDES`, as data.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from tests.families.overrides import OVERRIDES

__all__ = ["DEPTH", "POSITIONS", "VOCABULARY", "tiny_config"]

VOCABULARY = 97
DEPTH = 4
POSITIONS = 64
_WIDTH, _HEADS, _GROUPS, _HEAD = 64, 4, 2, 16

Value = int | None | Callable[[int], int]

# Patterns of names; the first that matches decides.
_RULES: tuple[tuple[str, Value], ...] = (
    (r"pad_token_id|pad_index", lambda value: value if value < VOCABULARY else 0),
    (r"forced_\w+_token_id", None),
    (
        r"\w+_token_(id|index)|\w+_(id|index)",
        lambda value: value if value < VOCABULARY else VOCABULARY - 1 - value % 16,
    ),
    (r"(type|segment)_vocab_size|segment_types", 2),
    (r"\w*vocab_size\w*", VOCABULARY),
    (r"num_kv_shared_layers", 0),
    (r"first_k_dense_replace|num_dense_layers|(moe_)?num_shared_experts|n_shared_experts", lambda value: min(value, 1)),
    (r"\w*num_key_heads", _GROUPS),
    (r"mamba_n_heads", 2 * _HEADS),
    (r"\w*(hidden|num|n|encoder|decoder)_layers?|\w*num_hidden_layers", DEPTH),
    (r"num_blocks|depth", lambda value: min(value, DEPTH)),
    (r"\w*heads?", _HEADS),
    (r"\w*(head_dim|d_kv|d_head|dim_head|head_size)", _HEAD),
    (r"\w*(hidden_size|embed_dim|embedding_size|d_model|n_embd|embedding_dim|embed_proj_dim|out_channels)", _WIDTH),
    (r"dim|emb_dim|width|hidden_dim|lru_width|\w*projection_dim|\w*output_dim|proj_dim|reduce_dim", _WIDTH),
    (r"\w*(intermediate_size|ffn_dim|inner_dim|n_inner|d_ff|dim_ff|dff|ffn_hidden_size|d_inner|hidden_dim)", _WIDTH),
    (r"(moe_)?(num_|n_)?(routed_|local_)?experts", _HEADS),
    (r"\w*experts_per_tok(en)?|top_k_experts|moe_topk|moe_k|num_selected_experts|moe_top_k", 2),
    (r"n_group|topk_group|n_groups|mamba_n_groups", 1),
    (r"\w*lora_rank", 16),
    (r"\w*(sliding_window|attention_window|window_size|window_len|local_attention)|attention_chunk_size", 5),
    (r"\w*(position_embeddings|n_positions|n_ctx|seq_len|sequence_length)|max_\w+_positions", POSITIONS),
    (r"image_size", 16),
    (r"\w*patch_size", 4),
)


def tiny_config(model_type: str, **settings: Any) -> PreTrainedConfig:
    """Return a tiny configuration of `model_type`, with some settings given."""
    config: PreTrainedConfig = _shrunk(CONFIG_MAPPING[model_type], settings)
    return config


def _shrunk(cls: type[PreTrainedConfig], settings: Mapping[str, Any] = {}) -> PreTrainedConfig:
    given = dict(OVERRIDES.get(cls.model_type, {})) | dict(settings)
    given = {name: value() if callable(value) else value for name, value in given.items()}
    default = vars(cls(**{name: value for name, value in given.items() if isinstance(value, PreTrainedConfig)}))
    small = {name: _shrunk(type(value)) for name, value in default.items() if isinstance(value, PreTrainedConfig)}
    small |= {name: _small(name, value) for name, value in default.items() if _is_size(value)}
    small |= {name: None for name, value in default.items() if name == "eos_token_id" and isinstance(value, list)}
    small |= _few_layers(default) | _grouped(default) | _sections(default)
    known = inspect.signature(cls.__init__).parameters  # other values are derived from these
    return cls(**{name: value for name, value in small.items() if name in known} | given)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _small(name: str, value: int) -> int | None:
    for pattern, small in _RULES:
        if re.fullmatch(pattern, name):
            return small(value) if callable(small) else small
    return value


def _grouped(default: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of key-value heads: fewer than heads exactly where the family has fewer."""
    small = {}
    for name, value in default.items():
        heads = next(
            (
                default[h]
                for h in (name.replace("key_value", "attention"), "num_heads", "n_head")
                if h in default and h != name
            ),
            value,
        )
        if re.fullmatch(r"\w*(kv_heads|key_value_heads|n_head_kv)", name) and _is_size(value):
            small[name] = _HEADS if value == heads else min(value, _GROUPS)
    return small


def _sections(default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotary settings whose sections fill half of a head."""
    rope = default.get("rope_parameters")
    if not isinstance(rope, dict) or "mrope_section" not in rope:
        return {}
    sections = rope["mrope_section"]
    total = int(_HEAD * rope.get("partial_rotary_factor", 1)) // 2
    small = [max(1, total * section // sum(sections)) for section in sections]
    small[-1] += total - sum(small)
    return {"rope_parameters": rope | {"mrope_section": small}}


def _few_layers(default: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that have a value for each layer, for few layers: each combination of values occurs."""
    depth = next((default[name] for name in ("num_hidden_layers", "num_layers", "n_layer") if name in default), None)
    lists = {name: value for name, value in default.items() if isinstance(value, list | tuple) and len(value) == depth}
    kinds = dict.fromkeys(map(repr, zip(*lists.values(), strict=True)))
    layers = [next(i for i, row in enumerate(zip(*lists.values(), strict=True)) if repr(row) == kind) for kind in kinds]
    return {name: list(islice(cycle([value[layer] for layer in layers]), DEPTH)) for name, value in lists.items()}
