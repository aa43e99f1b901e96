"""Build the configuration of a model from the keys and the tensor names of its GGUF file."""

from fnmatch import fnmatchcase
from typing import Any

import transformers

from layerscope.errors import ModelError
from layerscope.models.gguf.families import FAMILIES, GGUFFamily
from layerscope.models.gguf.file import GGUFFile
from layerscope.models.gguf.vocabulary import special_ids

__all__ = ["build_configuration", "family_of", "has"]

_MOST_BLOCKS = 1000  # no larger model is built to match its tensors
EMBEDDING, HEAD = "token_embd.weight", "output.weight"


def family_of(file: GGUFFile) -> GGUFFamily:
    """Return how to read the family of a file.

    Raises
    ------
    ModelError
        The family cannot be read from GGUF.
    """
    family = FAMILIES.get(file.architecture)
    if family is None:
        known = ", ".join(FAMILIES)
        raise ModelError(f"{file.path}: the architecture {file.architecture!r} is not read from GGUF (known: {known})")
    return family


def build_configuration(file: GGUFFile) -> transformers.PreTrainedConfig:
    """Build the configuration of a file; `weights.match` then matches its tensors.

    Raises
    ------
    ModelError
        A key is missing, or has a value that the family cannot have.
    """
    family = family_of(file)
    settings: dict[str, Any] = {name: file.get_own(key) for key, name in family.keys.items()} | dict(family.fixed)
    for key, name in family.keys.items():
        if key.endswith("epsilon") and not 0 < settings[name] < 1:
            raise file.value_error(key, "must be between 0 and 1")
    if file.get_own("block_count") > _MOST_BLOCKS:
        raise file.value_error("block_count", f"is beyond {_MOST_BLOCKS}")
    for read in family.read:
        settings |= read(file, settings)
    for name, tensors in family.biases.items():
        settings[name] = any(has(file, tensor) for tensor in tensors)
    settings |= {"vocab_size": _rows(file), "tie_word_embeddings": HEAD not in file.tensors, "dtype": "float32"}
    ids = special_ids(file)
    settings |= {f"{name}_id": ids.get(name) for name in ("bos_token", "eos_token", "pad_token")}
    return transformers.AutoConfig.for_model(settings.pop("model_type", family.model_type), **settings)


def has(file: GGUFFile, tensor: str) -> bool:
    """Return whether any block has a tensor."""
    return any(fnmatchcase(name, f"blk.*.{tensor}") for name in file.tensors)


def _rows(file: GGUFFile) -> int:
    """Return the number of rows of the embedding."""
    tokens = len(file.get("tokenizer.ggml.tokens"))
    rows = file.shape(EMBEDDING)[0] if EMBEDDING in file.tensors else tokens
    if tokens > rows:
        raise ModelError(f"{file.path}: {tokens} tokens in tokenizer.ggml.tokens, but {rows} rows in {EMBEDDING}")
    if file.get_own("vocab_size", rows) not in (rows, tokens):
        raise file.value_error("vocab_size", f"is neither the {tokens} tokens of the file nor its {rows} embeddings")
    return rows
