"""Check the loading report of transformers: each weight is used, or harmless by a written rule, or the model is refused.

A stored buffer that the model computes itself must be equal to the computed one. A head that no capture runs may be missing or
unused. All other weights that are missing, unused or of another shape change the computation.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

from layerscope.errors import ModelError
from layerscope.models.checkpoint import Checkpoint
from layerscope.models.config_check import is_decoder
from layerscope.models.devices import is_spread, loaded_tensors

__all__ = ["check_weights"]

_SHOWN = 6  # kinds of names in a message


def check_weights(module: Any, report: Mapping[str, Any], checkpoint: Checkpoint, name: str) -> None:
    """Refuse a model whose weights are not the stored ones; warn about heads that are missing or not used.

    Parameters
    ----------
    module
        The loaded Hugging Face model.
    report
        The loading report of ``from_pretrained``.
    checkpoint
        The stored weights.
    name
        The name of the model, for messages.

    Raises
    ------
    ModelError
        A weight is missing, not used, of another shape or stored as integers, or tied weights differ.
    """
    computed = {stored for stored in checkpoint.tensors if _rule_of(stored)}
    _check_computed(module, checkpoint, computed, name)
    _check_ties(module, name)
    missing, unused = set(report["missing_keys"]), {key for key in report["unexpected_keys"] if not _rule_of(key)}
    heads = {key for key in missing | unused if _is_idle_head(key, module)}
    faults = {
        "missing": missing - heads,
        "not used": unused - heads,
        "of another shape": {key for key, _, _ in report["mismatched_keys"]},
        "stored as integers": set() if checkpoint.quantization else _integers(checkpoint) - computed - unused,
    }
    if integers := faults["stored as integers"]:
        raise ModelError(
            f"{name}: weights are stored as integers ({_summary(integers)}), and config.json has no quantization_config "
            "to read them with.\nGive the plain model, not quantised."
        )
    if any(faults.values()):
        said = "; ".join(f"{len(keys)} {what} ({_summary(keys)})" for what, keys in faults.items() if keys)
        raise ModelError(
            f"{name}: the weights are not those of the model that config.json describes: {said}.\n"
            "Correct config.json, or fetch the model again: its states would be wrong."
        )
    if heads:
        warnings.warn(
            f"{name}: {len(heads)} weights of heads that a capture does not run are missing or not used ({_summary(heads)})",
            stacklevel=2,
        )


def _summary(names: Iterable[str]) -> str:
    """Format names of weights, those of different blocks together.

    Examples
    --------
    >>> _summary(["layers.0.bias", "layers.1.bias", "norm.weight"])
    'layers.*.bias (2), norm.weight'
    """
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        kinds.setdefault(re.sub(r"(?<=\.)\d+(?=\.)", "*", name), []).append(name)
    shown = [f"{kind} ({len(alike)})" if len(alike) > 1 else alike[0] for kind, alike in kinds.items()]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} kinds more" if len(shown) > _SHOWN else "")


# Stored buffers that the model computes itself


def _is_frequencies(stored: torch.Tensor, module: Any) -> bool:
    """Accept the rotary frequencies of the model, or those before scaling (which older versions applied elsewhere)."""
    stored = stored.float()
    theta = (getattr(module.config, "rope_parameters", None) or {}).get("rope_theta")
    known = [buffer.float() for name, buffer in module.named_buffers() if name.endswith("inv_freq")]
    known = [buffer for buffer in known if buffer.shape == stored.shape]
    if known and isinstance(theta, int | float):
        known.append(theta ** -(torch.arange(len(stored)) / len(stored)))
    return any(torch.allclose(frequencies, stored, rtol=4e-3, atol=1e-6) for frequencies in known)


def _is_range(stored: torch.Tensor, module: Any) -> bool:
    return torch.equal(stored.flatten().long(), torch.arange(stored.numel()))


def _is_causal_mask(stored: torch.Tensor, module: Any) -> bool:
    return stored.ndim > 1 and torch.equal(stored.bool(), torch.ones_like(stored, dtype=torch.bool).tril())


def _is_masked_value(stored: torch.Tensor, module: Any) -> bool:
    return stored.numel() == 1 and float(stored) <= -1e4


_COMPUTED: dict[str, Callable[[torch.Tensor, Any], bool]] = {
    r"rotary_emb\.inv_freq$": _is_frequencies,
    r"(^|\.)position_ids$": _is_range,
    r"\.(attn|attention)\.bias$": _is_causal_mask,  # of GPT-2 and GPT-NeoX
    r"\.(attn|attention)\.masked_bias$": _is_masked_value,
}


def _rule_of(name: str) -> Callable[[torch.Tensor, Any], bool] | None:
    return next((rule for pattern, rule in _COMPUTED.items() if re.search(pattern, name)), None)


def _check_computed(module: Any, checkpoint: Checkpoint, names: set[str], name: str) -> None:
    for stored in sorted(names):
        rule = _rule_of(stored)
        if rule is not None and not rule(checkpoint.read(stored), module):
            raise ModelError(
                f"{name}: the stored {stored} is not what the model computes from config.json, and would not be used.\n"
                "Correct config.json (rope_theta, rope_parameters), or fetch the model again."
            )


# Tied weights


def _check_ties(module: Any, name: str) -> None:
    """Refuse a stored head that differs from the embedding it is tied to; transformers would untie it."""
    head, embedding = module.get_output_embeddings(), module.get_input_embeddings()
    tied = getattr(module.config, "tie_word_embeddings", False)
    if tied and head is not None and _untied(head, embedding):
        raise ModelError(
            f"{name}: config.json ties the head to the embedding, and the weights have different values for both.\n"
            "Set tie_word_embeddings to false in config.json if the head is separate."
        )


def _untied(head: Any, embedding: Any) -> bool:
    if head.weight is embedding.weight or head.weight.shape != embedding.weight.shape:
        return False
    if not is_spread(head) and not is_spread(embedding):
        return True
    with loaded_tensors(head) as one, loaded_tensors(embedding) as other:  # on two devices, or read twice from disk
        here, there = dict(one)["weight"], dict(other)["weight"]
        return not torch.equal(here.cpu(), there.cpu())


# Heads

_HEADS = {
    "cls",
    "pooler",
    "lm_head",
    "classifier",
    "pre_classifier",
    "qa_outputs",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector",
    "generator_predictions",
    "generator_lm_head",
    "discriminator_predictions",
}


def _is_idle_head(key: str, module: Any) -> bool:
    """Return whether a weight is of a head or pooler of an encoder, or of a decoder's head that its class lacks."""
    parts = key.removeprefix(f"{module.base_model_prefix}.").split(".")
    if is_decoder(module.config):
        return module.get_output_embeddings() is None and key.startswith(
            f"{_head_of_family(module.config.model_type)}."
        )
    return parts[0] in _HEADS


@cache
def _head_of_family(family: str) -> str:
    """Return the name of the head in the causal models of a family."""
    config = CONFIG_MAPPING[family]()
    with torch.device("meta"):
        causal: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    head = causal.get_output_embeddings()
    names: list[str] = [name for name, part in causal.named_modules() if part is head]
    return names[0]


def _integers(checkpoint: Checkpoint) -> set[str]:
    return {name for name, tensor in checkpoint.tensors.items() if tensor.is_integer}
