"""The model families that can be read from GGUF, and what their keys and tensors are called in transformers.

Data, and a few functions for what data cannot express. Nothing is left to the defaults of a configuration class, which describe
one checkpoint of the family.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from layerscope.models.gguf import tensor_layouts
from layerscope.models.gguf.file import GGUFFile
from layerscope.models.gguf.rope import rope_parameters

__all__ = ["FAMILIES", "GGUFFamily"]

Settings = dict[str, Any]
Biases = dict[str, tuple[str, ...]]
ReadSettings = Callable[[GGUFFile, Settings], Settings]


@dataclass(frozen=True)
class GGUFFamily:
    """One architecture of GGUF.

    Attributes
    ----------
    model_type
        The ``model_type`` in transformers.
    keys
        Required keys, and the settings of the configuration that they give.
    fixed
        Settings that llama.cpp has built into the family.
    read
        Functions for settings that no single key gives. Each takes the file and the settings so far, and returns more settings.
    biases
        Settings that are on when the file has any of these tensors in a block.
    zero
        Biases that are zero if no block has them.
    changes
        Tensors that llama.cpp stores in another layout, by name pattern, and the functions that restore them.
    """

    model_type: str
    keys: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    read: tuple[ReadSettings, ...] = ()
    biases: Biases = field(default_factory=dict)
    zero: tuple[str, ...] = ("attn_output.bias",)
    changes: Mapping[str, tensor_layouts.Change] = field(default_factory=dict)


def _heads(file: GGUFFile, settings: Settings) -> Settings:
    """Read the number of key-value heads and the width of a head."""
    heads = settings["num_attention_heads"]
    width = file.get_own("attention.key_length", settings["hidden_size"] // heads)
    if file.get_own("attention.value_length", width) != width:
        raise file.value_error(
            "attention.value_length", f"differs from the {width} of the keys, which is not supported"
        )
    return {"num_key_value_heads": file.get_own("attention.head_count_kv", heads), "head_dim": width}


def _rotary(file: GGUFFile, settings: Settings) -> Settings:
    return {"rope_parameters": rope_parameters(file, settings)}


def _window_everywhere(file: GGUFFile, settings: Settings) -> Settings:
    """Return the settings of a Mistral for a llama with a sliding window: all its blocks have the window."""
    window = file.get_own("attention.sliding_window", 0)
    return {"model_type": "mistral", "sliding_window": window} if window else {}


def _scale_of_queries(file: GGUFFile, settings: Settings) -> Settings:
    """Gemma divides queries by a root: of the width of a head, or in the 27B models of another number."""
    scale = file.get_own("attention.scale", None)
    if scale is not None:
        number = round(1 / scale**2)
        if abs(number * scale**2 - 1) > 1e-5:
            raise file.value_error("attention.scale", "is not one over the root of a whole number")
        return {"query_pre_attn_scalar": number}
    largest = settings["num_hidden_layers"] == _BLOCKS_OF_27B[file.architecture]
    whole = settings["hidden_size"] // settings["num_attention_heads"]
    return {"query_pre_attn_scalar": whole if largest else settings["head_dim"]}


_BLOCKS_OF_27B = {"gemma2": 46, "gemma3": 62}  # how llama.cpp recognises them


def _windows_of_gemma2(file: GGUFFile, settings: Settings) -> Settings:
    return _windows(file, settings, period=2) | {"sliding_window": file.get_own("attention.sliding_window", 4096)}


def _windows_of_gemma3(file: GGUFFile, settings: Settings) -> Settings:
    window = file.get_own("attention.sliding_window", 0)
    if window:
        return _windows(file, settings, period=6) | {"sliding_window": window}
    everything = {"sliding_window": settings["max_position_embeddings"]}
    return everything | {"layer_types": ["full_attention"] * settings["num_hidden_layers"]}


def _windows(file: GGUFFile, settings: Settings, period: int) -> Settings:
    """Read which blocks have a sliding window: all but every `period`-th, or those of a list in the file."""
    blocks = settings["num_hidden_layers"]
    key = "attention.sliding_window_pattern"
    pattern = file.get(f"{file.architecture}.{key}", period)
    if not isinstance(pattern, list):
        pattern = [pattern == 0 or block % pattern < pattern - 1 for block in range(blocks)]
    if len(pattern) != blocks:
        raise file.value_error(key, f"does not have {blocks} entries, one for each block")
    return {"layer_types": ["sliding_attention" if each else "full_attention" for each in pattern]}


def _rotary_of_gemma3(file: GGUFFile, settings: Settings) -> Settings:
    """Read the two sets of frequencies: blocks with a window have their own, without scaling."""
    full = rope_parameters(file, settings, base=None)
    if full["rope_type"] not in ("default", "linear"):
        raise file.value_error("rope.scaling.type", "is not supported for a family with two sets of frequencies")
    near = {"rope_type": "default", "rope_theta": file.get_own("rope.freq_base_swa", 10_000.0)}
    return {"rope_parameters": {"full_attention": full, "sliding_attention": near}}


def _soft_caps(attention: float | None, final: float | None) -> ReadSettings:
    def read(file: GGUFFile, settings: Settings) -> Settings:
        return {
            "attn_logit_softcapping": file.get_own("attn_logit_softcapping", attention) or None,
            "final_logit_softcapping": file.get_own("final_logit_softcapping", final) or None,
        }

    return read


def _alibi_of_bloom(file: GGUFFile, settings: Settings) -> Settings:
    if file.get_own("attention.max_alibi_bias", 8.0) != 8:
        raise file.value_error("attention.max_alibi_bias", "is not the 8 of BLOOM")
    if file.get_own("attention.head_count_kv", settings["n_head"]) != settings["n_head"]:
        raise file.value_error("attention.head_count_kv", "is not the number of heads")
    if file.get_own("feed_forward_length", 4 * settings["hidden_size"]) != 4 * settings["hidden_size"]:
        raise file.value_error("feed_forward_length", "is not four times embedding_length")
    return {}


def _sharing_of_falcon(file: GGUFFile, settings: Settings) -> Settings:
    """One key-value head is the older decoder; several are the newer one, with one or two norms in front."""
    shared = file.get_own("attention.head_count_kv", 1)
    settings = settings | {"head_dim": settings["hidden_size"] // settings["num_attention_heads"]}
    newer = shared > 1
    norms = 2 if "blk.0.attn_norm_2.weight" in file.tensors else 1
    found = {"rope_parameters": rope_parameters(file, settings), "num_kv_heads": shared}
    return found | {"new_decoder_architecture": newer, "num_ln_in_parallel_attn": norms if newer else None}


_SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
}
_GATED = _SIZES | {"feed_forward_length": "intermediate_size", "attention.layer_norm_rms_epsilon": "rms_norm_eps"}
_ATTENTION_BIAS: Biases = {"attention_bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias")}
_MLP_BIAS: Biases = {"mlp_bias": ("ffn_gate.bias", "ffn_up.bias", "ffn_down.bias")}
_GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "use_bidirectional_attention": None}

FAMILIES = {
    "llama": GGUFFamily(
        "llama",
        _GATED,
        {"hidden_act": "silu"},
        (_heads, _rotary, _window_everywhere),
        _ATTENTION_BIAS | _MLP_BIAS,
        changes={"attn_q.*": tensor_layouts.unpair_queries, "attn_k.*": tensor_layouts.unpair_keys},
    ),
    "qwen2": GGUFFamily("qwen2", _GATED, {"hidden_act": "silu", "use_sliding_window": False}, (_heads, _rotary)),
    "qwen3": GGUFFamily(
        "qwen3", _GATED, {"hidden_act": "silu", "use_sliding_window": False}, (_heads, _rotary), _ATTENTION_BIAS
    ),
    "gemma2": GGUFFamily(
        "gemma2",
        _GATED,
        _GEMMA,
        (_heads, _rotary, _windows_of_gemma2, _scale_of_queries, _soft_caps(50.0, 30.0)),
        _ATTENTION_BIAS,
        changes={"*norm.weight": tensor_layouts.subtract_one},
    ),
    "gemma3": GGUFFamily(
        "gemma3_text",
        _GATED,
        _GEMMA | {"use_bidirectional_attention": False},
        (_heads, _rotary_of_gemma3, _windows_of_gemma3, _scale_of_queries, _soft_caps(None, None)),
        _ATTENTION_BIAS,
        changes={"*norm.weight": tensor_layouts.subtract_one},
    ),
    "gpt2": GGUFFamily(
        "gpt2",
        {
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "attention.head_count": "n_head",
            "feed_forward_length": "n_inner",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        {"activation_function": "gelu_new"},
        changes=dict.fromkeys(
            ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight"), tensor_layouts.transpose
        ),
    ),
    "bloom": GGUFFamily(
        "bloom",
        {
            "context_length": "seq_length",
            "embedding_length": "hidden_size",
            "block_count": "n_layer",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        {"apply_residual_connection_post_layernorm": False},
        (_alibi_of_bloom,),
        changes={"attn_qkv.*": tensor_layouts.interleave_heads},
    ),
    "falcon": GGUFFamily(
        "falcon",
        _SIZES | {"feed_forward_length": "ffn_hidden_size", "attention.layer_norm_epsilon": "layer_norm_epsilon"},
        {"alibi": False, "bias": False, "multi_query": True, "parallel_attn": True, "activation": "gelu"},
        (_sharing_of_falcon,),
        changes={"attn_qkv.*": tensor_layouts.interleave_groups},
    ),
}
