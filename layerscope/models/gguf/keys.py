"""The keys of GGUF files that change no state, no logit and no token id, each with the reason.

Data only. A key is read to build the configuration or the tokenizer, or it has a row here. A file with any other key is refused
by the name of the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["WITHOUT_EFFECT", "WithoutEffect", "unknown_keys"]


@dataclass(frozen=True)
class WithoutEffect:
    """A key that may be ignored.

    Attributes
    ----------
    key
        The name; ``*`` matches anything, ``{family}`` is the architecture of the file.
    why
        The reason.
    only
        The values without effect; empty for all values.
    remedy
        What the user can do about a file with another value.
    """

    key: str
    why: str
    only: tuple[Any, ...] = ()
    remedy: str = ""


_OFF = "switched off"
_PLAIN = "the value of a model that has no such scale"

WITHOUT_EFFECT = (
    WithoutEffect("GGUF.*", "counts of the container, used by the reader"),
    WithoutEffect("general.type", "a complete model", ("model",), "Give the file of the model itself."),
    WithoutEffect("general.*", "origin, packaging and sampling advice"),
    WithoutEffect("split.count", "a file in one piece", (0, 1), "Join its parts first (llama-gguf-split --merge)."),
    WithoutEffect("split.*", "which part this is; only the number of parts matters"),
    WithoutEffect("quantize.*", "what the weights were rounded with"),
    WithoutEffect("imatrix.*", "what the weights were rounded with"),
    WithoutEffect("mradermacher.*", "notes of a publisher of files"),
    WithoutEffect("{family}.attention.causal", "no token sees a later one", (True,)),
    WithoutEffect("{family}.attention.clamp_kqv", _OFF, (0.0,)),
    WithoutEffect("{family}.attention.max_alibi_bias", _OFF, (0.0,)),
    WithoutEffect("{family}.embedding_scale", _PLAIN, (1.0,)),
    WithoutEffect("{family}.expert_count", "one feed-forward network a block", (0,)),
    WithoutEffect("{family}.expert_used_count", "one feed-forward network a block", (0,)),
    WithoutEffect("{family}.logit_scale", _PLAIN, (1.0,)),
    WithoutEffect("{family}.pooling_type", "how states are pooled after the model has run"),
    WithoutEffect("{family}.residual_scale", _PLAIN, (1.0,)),
    WithoutEffect("{family}.rope.scaling.attn_factor", _PLAIN, (1.0,)),
    WithoutEffect("{family}.rope.scaling.finetuned", "whether training used the scaling"),
    WithoutEffect("{family}.rope.scaling.original_context_length", "for kinds of scaling without a length"),
    WithoutEffect("{family}.rope.scaling.yarn_ext_factor", "full extrapolation, the default", (1.0,)),
    WithoutEffect("{family}.rope.scaling.yarn_log_multiplier", _OFF, (0.0,)),
    WithoutEffect(
        "llama.tensor_data_layout", "queries and keys with paired rows, the default", ("Meta AI original pth",)
    ),
    WithoutEffect("falcon.tensor_data_layout", "queries, keys and values in sequence, the default", ("jploski",)),
    WithoutEffect("tokenizer.chat_template.*", "further templates for chats"),
    WithoutEffect("tokenizer.chat_templates", "further templates for chats"),
    WithoutEffect("tokenizer.ggml.add_sep_token", _OFF, (False,)),
    WithoutEffect("tokenizer.ggml.cls_token_id", "names a token that is added to no text"),
    WithoutEffect("tokenizer.ggml.mask_token_id", "names a token that is added to no text"),
    WithoutEffect("tokenizer.ggml.seperator_token_id", "names a token that is added to no text"),
    WithoutEffect("tokenizer.ggml.fim_*_token_id", "names a token for filling gaps"),
    WithoutEffect("tokenizer.ggml.prefix_token_id", "names a token for filling gaps"),
    WithoutEffect("tokenizer.ggml.suffix_token_id", "names a token for filling gaps"),
    WithoutEffect("tokenizer.ggml.middle_token_id", "names a token for filling gaps"),
    WithoutEffect("tokenizer.ggml.remove_extra_whitespaces", _OFF, (False,)),
)


def unknown_keys(keys: Mapping[str, Any], family: str) -> dict[str, str]:
    """Return the keys without a row for their value, each with its remedy or an empty string.

    Examples
    --------
    >>> unknown_keys({"general.name": "a model", "llama.expert_count": 8, "split.count": 2}, "llama")
    {'llama.expert_count = 8': '', 'split.count = 2': 'Join its parts first (llama-gguf-split --merge).'}
    """
    found = {}
    for key, value in keys.items():
        row = next((row for row in WITHOUT_EFFECT if fnmatchcase(key, row.key.format(family=family))), None)
        if row is None or (row.only and value not in row.only):
            found[f"{key} = {str(value)[:60]}"] = row.remedy if row else ""
    return found
