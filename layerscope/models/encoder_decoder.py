"""The encoder and the decoder of one model, each taken as one model.

The encoder reads a text as it does in the whole model. The decoder reads a text as a language model, without the states of an
encoder: its cross-attention does not run, as in the decoder-only classes of transformers (``BartForCausalLM``). It keeps the
vocabulary head of the model where it can be put behind it; see `layerscope.models.decoder_head`.
"""

from typing import Any, Literal

from torch import nn

from layerscope.errors import ModelError, UsageError
from layerscope.models.decoder_head import with_head

__all__ = ["Stack", "stack_name", "stack_of"]

Stack = Literal["encoder", "decoder"]
"""One of the two stacks of an encoder-decoder."""


def stack_name(name: str, stack: Stack | None) -> str:
    """Return the name in results of a stack of a model.

    Examples
    --------
    >>> stack_name("t5-small", "encoder"), stack_name("gpt2", None)
    ('t5-small:encoder', 'gpt2')
    """
    return f"{name}:{stack}" if stack else name


def stack_of(module: nn.Module, stack: Stack | None, name: str) -> nn.Module:
    """Return the part of a model that is taken: its encoder, its decoder with the head, or for other models the model itself.

    Raises
    ------
    ModelError
        The model is an encoder-decoder, and no stack was chosen.
    UsageError
        A stack was chosen, and the model has only one.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=16)
    >>> type(stack_of(transformers.T5Model(config), "encoder", "tiny")).__name__
    'T5Stack'
    >>> stack_of(transformers.T5Model(config), None, "tiny")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: tiny: T5Model is an encoder-decoder, whose two stacks carry a stream each.
    Take one of them: --stack encoder or --stack decoder (in Python stack=…).
    """
    parts = _parts(module)
    if stack is None:
        if parts:
            raise ModelError(
                f"{name}: {type(module).__name__} is an encoder-decoder, whose two stacks carry a stream each.\n"
                "Take one of them: --stack encoder or --stack decoder (in Python stack=…)."
            )
        return module
    if not parts:
        raise UsageError(f"{name}: {type(module).__name__} is no encoder-decoder: leave out --stack")
    return with_head(module, parts[stack]) if stack == "decoder" else parts[stack]


def _parts(module: Any) -> dict[str, nn.Module]:
    """Return the encoder and the decoder of an encoder-decoder; nothing of other models."""
    if not getattr(module.config, "is_encoder_decoder", False):
        return {}
    parts: dict[str, nn.Module] = {"encoder": module.get_encoder(), "decoder": module.get_decoder()}
    whole = any(part is module for part in parts.values()) or parts["encoder"] is parts["decoder"]
    return {} if whole else parts
