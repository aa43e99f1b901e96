"""Describe a stored model from its configuration and its tokenizer, without reading weights.

The blocks of every model are proved to be as many as in its configuration (`layerscope.models.proof`), so the list of that
length is the blocks. What only a forward pass shows is not known of an outline: it cannot run.
"""

from pathlib import Path
from typing import Any

import transformers
from torch import nn

from layerscope.models import gguf
from layerscope.models.adapter import find_adapter
from layerscope.models.checkpoint import open_folder, open_hub
from layerscope.models.config_check import check_memory, check_sizes, model_class
from layerscope.models.config_keys import check_numbers
from layerscope.models.discovery.architecture import Architecture
from layerscope.models.discovery.places import Place
from layerscope.models.discovery.probe import TEXT, text_config
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.identity import Identity
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.model import Model
from layerscope.models.stored_model import Placement
from layerscope.models.token_ids import check_tokenizer
from layerscope.models.tokenizer import load_tokenizer

__all__ = ["outline"]

_OF_LENGTH = ("dynamic", "longrope")  # a text depends on the longest of its batch, as a run shows


def outline(who: Identity, placement: Placement) -> Model | None:
    """Return a model on torch's device ``meta``; None if its blocks or its context cannot be known without a run.

    A GGUF file is converted, unless it is in the cache.

    Raises
    ------
    ModelError
        A file is missing or damaged, or the files are not of one model.
    """
    folder = gguf.convert(Path(who.folder)) if who.is_file else who.folder
    with translate_loader_errors(who.name), silence_loaders():
        if find_adapter(folder, who.revision) is not None:
            return None
        checkpoint = open_folder(folder) if isinstance(folder, Path) else open_hub(folder, who.revision)
        if checkpoint.quantization is not None or "auto_map" in checkpoint.config:
            return None
        check_sizes(checkpoint, who.name)
        check_numbers(checkpoint.config, who.name)
        options = {"revision": who.revision, "trust_remote_code": False}
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        cls = model_class(config, who.name)
        module: Any = check_memory(checkpoint, config, cls, placement.dtype, who.name, several_devices=True)
        blocks = _blocks(module, config)
        if blocks is None or module.main_input_name != TEXT or _needs_a_run(module, config):
            return None
        tokenizer = load_tokenizer(folder, who.name, None, options)
    model = Model(module.to(placement.dtype), tokenizer, who.name, _architecture(config, blocks))
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.vocabulary_size, who.name)
    return model


def _blocks(module: nn.Module, config: Any) -> tuple[str, int] | None:
    """Return the path and the length of the only list with as many items as the model has blocks."""
    depth = getattr(text_config(config), "num_hidden_layers", None)
    lists = [
        (path, len(part))
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == depth
    ]
    outermost = [one for one in lists if not any(one[0].startswith(f"{path}.") for path, _ in lists)]
    return outermost[0] if len(outermost) == 1 else None


def _needs_a_run(module: nn.Module, config: Any) -> bool:
    """Return whether only a forward pass shows how long a text may be, or which texts share a batch."""
    text = text_config(config)
    context = getattr(text, "max_position_embeddings", None) or 0
    learned = context and any(
        isinstance(part, nn.Embedding) and context <= part.num_embeddings <= context + 2 and part.num_embeddings != rows
        for part in module.modules()
        for rows in [getattr(text, "vocab_size", None)]
    )
    scaling = getattr(text, "rope_parameters", None) or {}
    kinds = [scaling, *(kind for kind in scaling.values() if isinstance(kind, dict))]
    return bool(learned or config.is_encoder_decoder or any(kind.get("rope_type") in _OF_LENGTH for kind in kinds))


def _architecture(config: Any, blocks: tuple[str, int]) -> Architecture:
    """Return the place of the blocks; the rest stays empty."""
    path, depth = blocks
    return Architecture(
        family=config.model_type,
        main_input=TEXT,
        trunk="",
        blocks=path,
        items=tuple(range(depth)),
        stream=StreamPlaces(Place(()), Place(())),
        outputs=(),
        final_norm=None,
        head=None,
        causal=True,
        position_ids=False,
        cache=None,
        positions=None,
    )
