"""Run a model by its weights and its inputs alone, whatever its flags and its past say.

Three things outside the weights change what a forward pass gives: training flags (dropout), flags in the configuration
(which switch the form of the output), and rotary embeddings that remember the longest text of an earlier batch. All
three are neutral inside `eval_mode`. Knows modules; knows no schedule and no text.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

__all__ = ["eval_mode"]

_NEUTRAL = {"output_hidden_states": False, "_output_attentions": False, "return_dict": True}
_LONGEST = "max_seq_len_cached"


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Make forward passes of a module depend on its weights and inputs alone; put everything back at the end.

    Parameters
    ----------
    module
        A Hugging Face module. Its training flags are off inside. Flags of its configuration that change the form of the
        output (``output_hidden_states``, ``output_attentions``, ``return_dict``) have their defaults. Rotary embeddings
        whose frequencies grow with the text (dynamic NTK) start anew in each forward pass.
    """
    with ExitStack() as stack:
        for part in module.modules():
            if part.training:
                stack.callback(setattr, part, "training", True)
                part.training = False
            if _longest_texts(part):
                stack.callback(part.register_forward_pre_hook(_start_anew).remove)
        for config in _configs(module):
            stack.callback(vars(config).update, _set_neutral(config))
        yield


def _configs(module: nn.Module) -> list[Any]:
    """Return the configurations of all parts, each once: most parts share that of the whole."""
    found = {id(config): config for part in module.modules() if (config := vars(part).get("config")) is not None}
    return [config for config in found.values() if hasattr(config, "__dict__")]


def _set_neutral(config: Any) -> dict[str, Any]:
    """Set the flags of a configuration to their defaults, and return what they were."""
    # Set past its properties: that of output_attentions refuses what it held before.
    facts = vars(config)
    before = {name: facts[name] for name in _NEUTRAL if name in facts}
    before |= {name: value for name, value in facts.items() if name.startswith("output_") and value is True}
    facts.update({name: _NEUTRAL.get(name, False) for name in before})
    return before


def _longest_texts(part: nn.Module) -> list[str]:
    """Name the attributes in which a rotary embedding remembers the longest text; a kind of layer may have its own."""
    if not hasattr(part, "original_max_seq_len"):
        return []
    return [name for name in vars(part) if name.endswith(_LONGEST)]


def _start_anew(part: Any, _: tuple[Any, ...]) -> None:
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
