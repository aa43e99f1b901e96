"""Describe a model: its parts, and what each backend can do with it."""

from typing import Any

import torch

from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.inputs import ImageInputs, Inputs, TextInputs
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import CaptureError, LayerScopeError, ModelError
from layerscope.models.discovery.probe import noise_images
from layerscope.models.encoder_decoder import Stack
from layerscope.models.loading import ModelLike, as_model
from layerscope.models.model import Model
from layerscope.models.sublayers import find_sublayers

__all__ = ["model_info"]

_TOKENS = 5
_ALIKE = 1e-4  # of the length of a state; the backends may round differently


def model_info(model: ModelLike, *, stack: Stack | None = None) -> dict[str, Any]:
    """Return the parts of a model. It is loaded and checked, and each backend runs it on a few tokens.

    Parameters
    ----------
    model
        See `layerscope.load_model`.
    stack
        ``"encoder"`` or ``"decoder"`` of an encoder-decoder.

    Returns
    -------
    dict
        ``family``, ``blocks`` (their number), ``width``, ``context``, ``parameters`` and so on; ``sublayers``: the parts whose
        outputs `layerscope.capture` records as ``attn`` and ``mlp``, or why there are none; ``backends``: for each, ``yes`` or
        the reason of its refusal.

    Raises
    ------
    ModelError
        The model cannot be loaded, or its blocks cannot be found or proved.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> facts = model_info(transformers.AutoModelForCausalLM.from_config(config))
    >>> facts["family"], facts["blocks"], facts["block_list"], facts["sublayers"]
    ('gpt2', 2, 'transformer.h', {'attn': 'attn', 'mlp': 'mlp', 'law': 'sum'})
    """
    found = as_model(model, stack=stack)
    architecture = found.architecture
    return {
        "model": found.name,
        "kind": "model",
        "family": architecture.family,
        "class": type(found.module).__name__,
        "attention": "causal" if architecture.causal else "both ways",
        "blocks": found.depth,
        "block_list": ".".join(part for part in (architecture.trunk, architecture.blocks) if part),
        "width": found.width,
        "context": found.context,
        "parameters": found.parameters,
        "vocabulary": found.vocabulary_size if found.reads_text else None,
        "dtype": str(found.dtype).removeprefix("torch."),
        "final_norm": architecture.final_norm,
        "head": architecture.head,
        "cached_generation": architecture.cache is not None,
        "tokenizer": None if found.tokenizer is None else type(found.tokenizer).__name__,
        "chat_template": bool(getattr(found.tokenizer, "chat_template", None)),
        "sublayers": _sublayers(found),
        "backends": _backends(found),
    }


def _sublayers(model: Model) -> dict[str, str] | str:
    try:
        blocks = find_sublayers(model)
    except ModelError as error:
        return _reason(error, model)
    parts = {name: sorted({getattr(block, name).part.path for block in blocks}) for name in ("attn", "mlp")}
    return {name: ", ".join(paths) for name, paths in parts.items()} | {"law": blocks[0].law}


def _backends(model: Model) -> dict[str, str]:
    hooks = _last_state(model, "hooks")
    answers = {}
    for name in BACKENDS:
        try:
            state = _last_state(model, name)
        except (CaptureError, ModelError) as error:
            answers[name] = _reason(error, model)
            continue
        alike = (state - hooks).norm() <= _ALIKE * hooks.norm()
        answers[name] = "yes" if alike else "its states differ from those of hooks: use --backend hooks"
    return answers


def _reason(error: LayerScopeError, model: Model) -> str:
    return str(error).splitlines()[0].removeprefix(f"{model.name}: ")


def _last_state(model: Model, backend: str) -> torch.Tensor:
    with backend_for(backend, model).session(model, CaptureSpec((model.depth,))) as session:
        return session(_trial(model)).hidden[0].float().cpu()


def _trial(model: Model) -> Inputs:
    if not model.reads_text:
        return ImageInputs(noise_images(model.module, 1))
    ids = model.trial_ids(1, _TOKENS)
    return TextInputs(ids, torch.ones_like(ids))
