"""Tiny GGUF files written from random models, with the names and arrangements that llama.cpp uses, for tests to read back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers as tf
from tokenizers import pre_tokenizers

WORDS = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
_SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
}
_CLASSES = {
    "llama": tf.LlamaConfig,
    "mistral": tf.MistralConfig,
    "qwen2": tf.Qwen2Config,
    "qwen3": tf.Qwen3Config,
    "gemma2": tf.Gemma2Config,
    "gemma3_text": tf.Gemma3TextConfig,
}
_COMMON = {"vocab_size": len(WORDS), "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0}
_OLDER = {
    "bloom": {"hidden_size": 32, "n_layer": 4, "n_head": 4},
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "n_inner": 48},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4},
}
_ARCHITECTURE = {"mistral": "llama", "gemma3_text": "gemma3"}

_GATED = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GEMMA = _GATED | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_FUSED = {
    "transformer.word_embeddings": "token_embd",
    "transformer.word_embeddings_layernorm": "token_embd_norm",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "ln_attn": "attn_norm_2",
    "ln_mlp": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def model(family: str, **settings: Any) -> Any:
    """Make a random model whose norms and biases are no ones and zeros."""
    if family in _OLDER:
        config = tf.AutoConfig.for_model(family, **_COMMON | _OLDER[family] | settings)
    else:
        config = _CLASSES[family](**_COMMON | _SIZE | settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = tf.AutoModelForCausalLM.from_config(config).eval()
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.data.add_(torch.randn_like(parameter) / 4)
    return module


def tensors(module: Any) -> dict[str, np.ndarray]:
    """Return the weights of a model as a GGUF file of it holds them."""
    found = {}
    for name, weight in module.state_dict().items():
        if name in (module._tied_weights_keys or {}) and module.config.tie_word_embeddings:
            continue
        found[_name(name, module.config)] = weight
    return {name: _stored(name, weight, module.config) for name, weight in found.items()}


def _name(name: str, config: Any) -> str:
    path, _, kind = name.rpartition(".")
    parts = path.split(".")
    table = _GEMMA if config.model_type.startswith("gemma") else _GATED | _FUSED
    block = next((part for part in parts if part.isdigit()), None)
    if block is None:
        return f"{table[path]}.{kind}"
    return f"blk.{block}.{table['.'.join(parts[parts.index(block) + 1 :])]}.{kind}"


def _stored(name: str, weight: torch.Tensor, config: Any) -> np.ndarray:
    """Arrange a weight as the converter of llama.cpp does."""
    values = weight.detach().numpy()
    if config.model_type in ("llama", "mistral") and (".attn_q." in name or ".attn_k." in name):
        heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        paired = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
        values = np.swapaxes(paired, 1, 2).reshape(values.shape)
    if config.model_type.startswith("gemma") and "norm" in name:
        values = values + 1
    if config.model_type == "gpt2" and values.ndim == 2 and name.startswith("blk."):
        values = values.T
    if config.model_type == "bloom" and "attn_qkv" in name:
        by_head = values.reshape(4, 3, 8, *values.shape[1:])
        values = np.concatenate([by_head[:, part].reshape(32, *values.shape[1:]) for part in range(3)])
    if config.model_type == "falcon" and "attn_qkv" in name:
        groups = config.num_kv_heads if config.new_decoder_architecture else 1
        by_group = values.reshape(groups, -1, 8, *values.shape[1:])
        parts = by_group[:, :-2], by_group[:, -2], by_group[:, -1]
        values = np.concatenate([part.reshape(-1, *values.shape[1:]) for part in parts])
    return np.ascontiguousarray(values)


def keys(module: Any) -> dict[str, Any]:
    """Return the keys that every file of a model has, by their names without the architecture."""
    config = module.config
    rms = hasattr(config, "rms_norm_eps")
    found = {
        "context_length": 64,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 128,
        "attention.head_count": config.num_attention_heads,
        "attention.layer_norm_rms_epsilon" if rms else "attention.layer_norm_epsilon": (
            config.rms_norm_eps if rms else config.layer_norm_epsilon
        ),
    }
    if rms:
        found |= {"attention.head_count_kv": config.num_key_value_heads}
    if config.model_type == "gemma3_text":
        found |= {"rope.freq_base": 1e6}
    if config.model_type == "falcon":
        found |= {"attention.head_count_kv": config.num_kv_heads if config.new_decoder_architecture else 1}
    return found


TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": WORDS,
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
}


def write(path: Path, module: Any, more: Mapping[str, Any] = {}, replaced: Mapping[str, Any] = {}, **how: Any) -> Path:
    """Write a file of a model.

    Parameters
    ----------
    path, module
        Where to, of which model.
    more
        Further keys, or other values; those without a namespace of their own get the architecture in front. None leaves a
        key out.
    replaced
        Further tensors, or other values. None leaves a tensor out.
    how
        As `write_file` has it.
    """
    architecture = _ARCHITECTURE.get(module.config.model_type, module.config.model_type)
    held = tensors(module) | dict(replaced)
    splitter = {"tokenizer.ggml.pre": "qwen2"} if module.config.model_type == "qwen2" else {}  # as its class splits
    named = {
        _full(key, architecture): value for key, value in {**keys(module), **TOKENIZER, **splitter, **more}.items()
    }
    held = {name: values for name, values in held.items() if values is not None}
    return write_file(path, architecture, named, held, **how)


def _full(key: str, architecture: str) -> str:
    return key if key.split(".")[0] in ("general", "tokenizer", "split", "other") else f"{architecture}.{key}"


def write_file(
    path: Path,
    architecture: str,
    named: Mapping[str, Any],
    held: Mapping[str, np.ndarray],
    *,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    endianess: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
) -> Path:
    """Write keys and tensors as they are, matrices rounded as `kind` says."""
    writer = gguf.GGUFWriter(path, architecture, endianess=endianess)
    for key, value in named.items():
        if value is not None:
            _add(writer, key, value)
    for name, values in held.items():
        values = np.array(values, dtype=np.float32)
        if values.ndim == 2 and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = ((bool, writer.add_bool), (int, writer.add_uint32), (float, writer.add_float32), (str, writer.add_string))
    add = next((add for kind, add in kinds if isinstance(value, kind)), writer.add_array)
    add(key, value)
