"""Name the current weights of a module, also after code has changed them.

The fingerprint of a model names the files it was loaded from. Code that edits weights afterwards (``load_state_dict``, an
ablation, an adapter merged in place) makes another model, and a result must not be stored under the old name. `WeightIdentity`
therefore takes a checksum of the module at load and again whenever a result asks for the fingerprint.

`module_checksum` reads every weight once, at about the speed of memory: 0.4 s for 500 MB on one core. Version counters of torch
would be cheaper, but edits through ``parameter.data``, as PEFT makes them, leave them as they were.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from layerscope.models.devices import loaded_tensors

__all__ = ["WeightIdentity", "module_checksum"]

_COLUMNS = 8_191  # sums of a large tensor; a prime, so that no reordering of rows keeps them

# Plain attributes that do not change what a module computes, and private ones that do (which adapter of PEFT is in use).
_WITHOUT_EFFECT = ("training", "gradient_checkpointing", "warnings_issued", "name_or_path", "loss_type")
_PRIVATE = ("_active_adapter", "_disable_adapters")
_LONGEST = "max_seq_len_cached"  # in rotary embeddings whose frequencies follow the longest text
_GROWING = ("dynamic", "longrope")
_LIBRARIES = ("transformers", "accelerate", "torch", "layerscope", "nnsight", "transformer_lens")


class WeightIdentity:
    """Name the weights of a model: by their source while they are as loaded, and by their checksum otherwise.

    Parameters
    ----------
    module
        The loaded module.
    source
        Returns the name of the weights at load: a hub commit or the hash of files. An empty name leaves the checksum alone.

    Examples
    --------
    >>> module = nn.Linear(2, 2)
    >>> fingerprint = WeightIdentity(module, lambda: "sha256:1234")
    >>> fingerprint()
    'sha256:1234'
    >>> module.weight.data += 1
    >>> fingerprint().startswith("sha256:1234 changed to memory:")
    True
    """

    def __init__(self, module: nn.Module, source: Callable[[], str]) -> None:
        self._module = module
        self._source = source
        self._at_load = module_checksum(module)

    def __call__(self) -> str:
        """Return the name of the current weights."""
        source, now = self._source(), module_checksum(self._module)
        if not source:
            return now
        return source if now == self._at_load else f"{source} changed to {now}"


def module_checksum(module: nn.Module) -> str:
    """Return ``memory:`` and a checksum of what a module computes with.

    It covers the class of every part, its parameters and buffers, its settings that are plain values (the scale of an
    attention, the adapter in use) and the names of hooks that are not of a library. Training flags are not part of it.

    Examples
    --------
    >>> module_checksum(nn.ReLU()) == module_checksum(nn.ReLU()), module_checksum(nn.ReLU()) == module_checksum(nn.GELU())
    (True, False)
    """
    digest = hashlib.sha256()
    for path, part in module.named_modules():
        digest.update(repr((path, type(part).__qualname__, _settings(part), _hooks(part))).encode())
        for name, tensor in _tensors(part):
            digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(_tensor_checksum(tensor))
    return f"memory:{digest.hexdigest()[:32]}"


def _tensors(part: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what a part computes with: its parameters, its buffers, and tensors that it packs in another way."""
    grows = any(kind in str(vars(part).get("rope_type")) for kind in _GROWING)
    with loaded_tensors(part) as tensors:
        for name, tensor in tensors:
            if not (grows and name.endswith("inv_freq") and "original" not in name):
                yield from _plain(name, tensor)
    if type(part)._save_to_state_dict is not nn.Module._save_to_state_dict:  # quantised layers
        stored: dict[str, Any] = {}
        part._save_to_state_dict(stored, "", False)
        known = (*part._parameters, *part._buffers)
        for name, value in stored.items():
            if name not in known:
                for item in value if isinstance(value, tuple) else (value,):
                    yield from _plain(name, item) if isinstance(item, torch.Tensor) else ()


def _plain(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a tensor, or the plain tensors that one of a special type is made of."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        yield name, tensor.int_repr()
        scales = (tensor.q_per_channel_scales if "channel" in str(tensor.qscheme()) else tensor.q_scale)()
        yield f"{name}.scale", torch.as_tensor(scales)
    elif hasattr(tensor, "__tensor_flatten__"):
        for inner in tensor.__tensor_flatten__()[0]:
            yield from _plain(f"{name}.{inner}", getattr(tensor, inner))
    else:
        yield name, tensor


def _settings(part: nn.Module) -> list[tuple[str, str]]:
    """Return the attributes of a module that are plain values, or collections of plain values."""
    plain = {}
    for name, value in vars(part).items():
        if name in _WITHOUT_EFFECT or name.endswith(_LONGEST) or (name.startswith("_") and name not in _PRIVATE):
            continue
        with suppress(TypeError, ValueError):  # modules, tensors and functions are no plain values
            plain[name] = json.dumps(sorted(value) if isinstance(value, set) else value, sort_keys=True)
    return sorted(plain.items())


def _hooks(part: Any) -> list[str]:
    hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]
    names = [
        f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}" for hook in hooks
    ]
    return [name for name in names if name.partition(".")[0] not in _LIBRARIES]


def _tensor_checksum(tensor: torch.Tensor) -> bytes:
    """Return bytes that depend on every bit of a tensor and on the order of its values."""
    content = tensor.detach().contiguous().flatten().view(torch.uint8)
    rows = content.numel() // (8 * _COLUMNS)
    summed = 8 * _COLUMNS * rows
    sums = content[:summed].view(torch.int64).view(rows, _COLUMNS).sum(0) if rows else content[:0]
    return b"".join(part.cpu().numpy().tobytes() for part in (sums, content[summed:]))
