"""Find keys of ``config.json`` that contradict each other or have no effect.

transformers accepts any key. A key that the configuration class of the family does not read has no effect. Where two keys give
one setting, one of them wins without a word. Either way the model that runs is not the one that the file describes. Here numbers
that no model can have and contradictions are refused, and keys without effect that change other families are reported.

Unknown keys that change no computation (``_name_or_path``, ``transformers.js_config``) are not mentioned.
"""

import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from layerscope.errors import ModelError

__all__ = ["check_keys", "check_numbers"]

_Values = Mapping[str, Any]

# Numbers that must be finite and above 0, in the file or in one of its rotary scalings.
_POSITIVE = (
    "rope_theta",
    "rotary_emb_base",
    "rope_local_base_freq",
    "partial_rotary_factor",
    "rotary_pct",
    "factor",
    "short_factor",
    "long_factor",
    "original_max_position_embeddings",
    "query_pre_attn_scalar",
)
_SCALINGS = ("rope_parameters", "rope_scaling")
_NOT_NEGATIVE = re.compile(r"_(eps|epsilon|softcapping)$")
_NULL_FOR_NONE = ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping")  # 0 makes states or logits NaN

# Further names of settings that transformers keeps in `rope_parameters`.
_IN_SCALING = {
    "rope_theta": "rope_theta",
    "rotary_emb_base": "rope_theta",
    "rope_local_base_freq": "rope_theta",
    "partial_rotary_factor": "partial_rotary_factor",
    "rotary_pct": "partial_rotary_factor",
    "type": "rope_type",
}

_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon")
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation")


def _is(*values: Any) -> Callable[[Any, Any], bool]:
    return lambda value, config: value in values


def _is_any_of(names: tuple[str, ...]) -> Callable[[Any, Any], bool]:
    # An unknown key becomes an attribute of the configuration, but not of its class.
    return lambda value, config: value in [getattr(config, name) for name in names if hasattr(type(config), name)]


def _no_window(value: Any, config: Any) -> bool:
    return bool(value <= 0 or value >= (getattr(config, "max_position_embeddings", None) or math.inf))


# Keys that change the computation of a family that reads them, and when they would change nothing.
_COMPUTING: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(
        ("rope_theta", "rope_parameters", "rope_scaling", "rotary_emb_base", "rope_local_base_freq"), _is()
    ),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), _is(1)),
    **dict.fromkeys(("rope_interleaved", "alibi", "use_alibi", "sinusoidal_pos_embds"), _is(False)),
    "position_embedding_type": lambda value, config: value not in ("relative_key", "relative_key_query", "alibi"),
    "no_rope_layers": lambda value, config: all(value),
    "sliding_window": _no_window,
    "layer_types": lambda value, config: set(value) <= {"full_attention"},
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "clip_qkv"), _is(0)),
    "query_pre_attn_scalar": lambda value, config: value == getattr(config, "head_dim", None),
    **dict.fromkeys(
        ("embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale", "scale_emb"), _is(1)
    ),
    "scale_attn_weights": _is(True),
    **dict.fromkeys(("scale_attn_by_inverse_layer_idx", "parallel_attn", "use_parallel_residual"), _is(False)),
    "do_layer_norm_before": _is(True),
    "apply_residual_connection_post_layernorm": _is(False),
    **dict.fromkeys(_EPSILONS, _is_any_of(_EPSILONS)),
    **dict.fromkeys(_ACTIVATIONS, _is_any_of(_ACTIVATIONS)),
}


def check_numbers(written: _Values, name: str) -> None:
    """Refuse numbers in ``config.json`` with which no model gives numbers, before a library reads the file.

    Raises
    ------
    ModelError
        An epsilon or soft cap is negative or not finite; a frequency or factor is not a finite number above 0.

    Examples
    --------
    >>> check_numbers({"rms_norm_eps": -1.0}, "tiny")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: tiny: config.json has rms_norm_eps -1.0: it must be a finite number, 0 or more
    """
    for part in (written, *_scalings(written)):
        for key, value in part.items():
            positive, bounded = key in _POSITIVE, bool(_NOT_NEGATIVE.search(key))
            for number in value if isinstance(value, list) else [value]:
                if not (positive or bounded) or isinstance(number, bool) or not isinstance(number, int | float):
                    continue
                if not math.isfinite(number) or number < 0 or (positive and number == 0):
                    bound = "above 0" if positive else "0 or more"
                    comma = " " if positive else ", "
                    raise ModelError(
                        f"{name}: config.json has {key} {number!r}: it must be a finite number{comma}{bound}"
                    )


def check_keys(written: _Values, config: Any, model_class: type, name: str) -> None:
    """Refuse two values for one setting, and warn of keys that would change the model if its class read them.

    Parameters
    ----------
    written
        The content of ``config.json``.
    config
        What transformers made of it.
    model_class
        The class of the model, whose module shows which keys it reads.
    name
        The name of the model, for messages.

    Raises
    ------
    ModelError
        Two keys contradict each other, or a window or soft cap that the family reads is 0.
    """
    _refuse_contradictions(written, config, name)
    source = _source_of(type(config)) + _source_of(model_class)
    for key in _NULL_FOR_NONE:
        value = getattr(config, key, None)
        if key in source and isinstance(value, int | float) and value <= 0:
            raise ModelError(f"{name}: config.json has {key} {value!r}: it must be above 0, or null for none")
    rotary = "rope_parameters" in source
    dead = [
        key
        for key, has_no_effect in _COMPUTING.items()
        if written.get(key) is not None
        and not (re.search(rf"\b{key}\b", source) or (rotary and key in ("rope_theta", *_SCALINGS)))
        and not has_no_effect(written[key], config)
    ]
    if dead:
        keys = ", ".join(f"{key} {_short(written[key])}" for key in dead)
        warnings.warn(
            f"{name}: config.json has {keys}, which {config.model_type} models of transformers do not read: "
            "the model runs without it",
            stacklevel=5,
        )


def _refuse_contradictions(written: _Values, config: Any, name: str) -> None:
    for alias, field in (getattr(config, "attribute_map", None) or {}).items():
        one, other = written.get(alias), written.get(field)
        if one is not None and other is not None and one != other:
            raise ModelError(f"{name}: config.json has {alias} {one!r} and {field} {other!r}: remove the wrong one")
    used = list(_scalings({"rope_parameters": getattr(config, "rope_parameters", None)}))
    if not used:
        return
    for part in (written, *_scalings(written)):
        for key, value in part.items():
            target = _IN_SCALING.get(key, key)
            if value is None or (part is written and (key not in _IN_SCALING or key == "type")):
                continue
            found = [scaling[target] for scaling in used if scaling.get(target) is not None]
            if found and isinstance(value, int | float | str | list) and value not in found:
                others = " or ".join(dict.fromkeys(map(_short, found)))
                raise ModelError(
                    f"{name}: config.json has {key} {_short(value)}, and elsewhere {target} {others}: remove the wrong one"
                )


def _scalings(written: _Values) -> Iterator[_Values]:
    """Yield the rotary scalings of a configuration: one, or one for each kind of block."""
    for key in _SCALINGS:
        scaling = written.get(key)
        if isinstance(scaling, Mapping):
            kinds = [kind for kind in scaling.values() if isinstance(kind, Mapping)]
            yield from kinds or [scaling]


def _source_of(cls: type) -> str:
    return inspect.getsource(sys.modules[cls.__module__])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
