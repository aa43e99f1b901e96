"""Make a forward pass depend only on the weights and the inputs of a model.

Three other things change a forward pass: training flags (dropout), flags in the configuration that select the form of the output,
and rotary embeddings that remember the longest text of an earlier batch. Inside `eval_mode` all three are neutral. Independent of
schedules and texts.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["eval_mode", "no_grad"]

_NEUTRAL = {"output_hidden_states": False, "_output_attentions": False, "return_dict": True}
_LONGEST = "max_seq_len_cached"


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Make forward passes of a module depend only on its weights and inputs; restore everything at the end.

    Parameters
    ----------
    module
        A Hugging Face module. Inside the context its training flags are off. Flags of its configuration that change the form of
        the output (``output_hidden_states``, ``output_attentions``, ``return_dict``) have their defaults. Rotary embeddings whose
        frequencies depend on the text length (dynamic NTK) are reset in each forward pass.
    """
    with ExitStack() as stack:
        for part in module.modules():
            if part.training:
                stack.callback(setattr, part, "training", True)
                part.training = False
            if _longest_texts(part):
                stack.callback(part.register_forward_pre_hook(_reset_frequencies).remove)
        for config in _configs(module):
            stack.callback(vars(config).update, _set_neutral(config))
        yield


@contextmanager
def no_grad() -> Iterator[None]:
    """Run without gradients and outside inference mode, whose tensors have no version counter."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _configs(module: nn.Module) -> list[Any]:
    """Return the configurations of all parts, each once; most parts share one."""
    configs = {id(config): config for part in module.modules() if (config := vars(part).get("config")) is not None}
    return [config for config in configs.values() if hasattr(config, "__dict__")]


def _set_neutral(config: Any) -> dict[str, Any]:
    """Set the flags of a configuration to their defaults, and return their previous values."""
    # Bypass the properties: that of output_attentions refuses its previous value.
    flags = vars(config)
    before = {name: flags[name] for name in _NEUTRAL if name in flags}
    before |= {name: value for name, value in flags.items() if name.startswith("output_") and value is True}
    flags.update({name: _NEUTRAL.get(name, False) for name in before})
    return before


def _longest_texts(part: nn.Module) -> list[str]:
    """Return the attributes in which a rotary embedding remembers the longest text, one for each kind of block."""
    if not hasattr(part, "original_max_seq_len"):
        return []
    return [name for name in vars(part) if name.endswith(_LONGEST)]


def _reset_frequencies(part: Any, _: tuple[Any, ...]) -> None:
    for name in _longest_texts(part):
        if getattr(part, name) > part.original_max_seq_len:
            kind = name.removesuffix(_LONGEST)
            frequencies = getattr(part, f"{kind}inv_freq")
            part.register_buffer(
                f"{kind}inv_freq",
                getattr(part, f"{kind}original_inv_freq").to(frequencies.device).clone(),
                persistent=False,
            )
            setattr(part, name, part.original_max_seq_len)
