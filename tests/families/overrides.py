"""Settings of tiny models that the names of settings do not tell, by model type."""

from typing import Any

__all__ = ["OVERRIDES"]

_ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
_ALTERNATING = ["linear_attention", "full_attention"] * 2

OVERRIDES: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"num_expert_group": 2},
    "blt": {"encoder_hash_byte_group_vocab": 97},
    "bamba": {"attn_layer_indices": [1, 3], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8},
    "cohere_compass_text": {"rope_parameters": dict.fromkeys(("full_attention", "sliding_attention"), _ROTARY)},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "codegen": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gptj": {"rotary_dim": 8},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "chameleon": {"vocabulary_map": {"<image>": 96}},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "esm": {"vocab_size": 97, "pad_token_id": 0, "mask_token_id": 3},
    "esmc": {"num_key_value_heads": 4},
    "glm5_next_text": {"num_key_value_heads": 4, "qk_rope_head_dim": 0},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "mistral3": {},
    "granitemoehybrid": {"layer_types": _ALTERNATING, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "led": {"attention_window": 4},
    "longformer": {"attention_window": 4},
    "lilt": {"channel_shrink_ratio": 4, "hidden_size": 96},
    "llama4": {"pad_token_id": 0},
    "nemotron": {"head_dim": 16, "num_key_value_heads": 2},
    "molmo2_adapter": {"vision_feature_layer": [-1, -2]},
    "longcat_flash": {"qk_head_dim": 32, "num_layers": 4, "zero_expert_num": 2, "expert_ffn_hidden_size": 32},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8},
    "mamba2": {"num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 2, "state_size": 8},
    "mobilebert": {"intra_bottleneck_size": 64, "num_feedforward_networks": 2, "num_hidden_layers": 4},
    "xlnet": {"d_head": 16},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "mamba_dt_rank": 8,
        "num_key_value_heads": 4,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "num_mem_blocks": 1,
        "mamba_ngroups": 1,
        "mamba_d_state": 8,
        "n_mamba_heads": 8,
        "mamba_headdim": 16,
        "hybrid_layer_ids": [1, 3],
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
    },
    "zaya": {"num_experts_per_tok": 1},
    "xmod": {"default_language": "en_XX"},
    "cpmant": {"prompt_length": 2},
    "step3p5": {"sliding_window": 5},
    "radio": {"video_temporal_patch_size": 4},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 95},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 95},
    "xlstm": {"num_heads": 4, "qk_dim_factor": 1.0},
    "hrm_text": {"num_layers_per_stack": 4},
}

for _family in (
    "qwen2_vl_text",
    "qwen2_5_vl_text",
    "qwen2_5_omni_text",
    "paddleocr_vl_text",
    "glm4v_text",
    "glm_ocr_text",
    "glm_image_text",
):
    OVERRIDES[_family] = {"rope_parameters": _ROTARY | {"mrope_section": [2, 3, 3]}}
OVERRIDES["glm4v_moe_text"] = {"rope_parameters": _ROTARY | {"mrope_section": [1, 1, 2], "partial_rotary_factor": 0.5}}
