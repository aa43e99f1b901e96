"""Where a model runs: on one device, or spread over several by accelerate.

accelerate gives each part a hook that moves its inputs to the part's device when it is called, and that reads weights which are
kept elsewhere (in the memory of the host, or on disk) for the time of the call. Outside a call such weights are on the device
``meta``, without values.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from layerscope.cache import cache_folder
from layerscope.errors import ModelError, UsageError

__all__ = [
    "DeviceMap",
    "device_names",
    "find_device",
    "input_device",
    "is_spread",
    "loaded_tensors",
    "offload_folder",
    "read_device_map",
    "refuse_nested_parts",
    "refuse_unknown_parts",
    "running_device",
    "spread",
]

DeviceMap = str | Mapping[str, str | int | torch.device]
"""How to spread a model: a strategy of accelerate, such as ``"auto"``, or the device of each part by its name."""

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_DISK = "disk"


def find_device(device: str) -> torch.device:
    """Return an available device by its name.

    Raises
    ------
    UsageError
        The name is not of a device that can hold weights.
    ModelError
        This machine does not have the device.
    """
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}: try cpu, cuda, cuda:0 or mps") from error
    if where.type == "meta":
        raise UsageError("device 'meta' has no weights: try cpu, cuda, cuda:0 or mps")
    try:
        torch.empty(1, device=where)
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # depends on the kind of device
        raise ModelError(f"device {device!r} is not available on this machine: use --device cpu") from error
    return where


def read_device_map(device_map: DeviceMap) -> str | dict[str, str]:
    """Return a device map with devices that exist, for ``from_pretrained``.

    Raises
    ------
    UsageError
        The strategy is unknown, the map is empty, or a device is unknown.
    ModelError
        This machine does not have a device.

    Examples
    --------
    >>> read_device_map("auto"), read_device_map({"model": "cpu", "lm_head": "disk"})
    ('auto', {'model': 'cpu', 'lm_head': 'disk'})
    >>> read_device_map("clever")
    Traceback (most recent call last):
        ...
    layerscope.errors.UsageError: unknown device map 'clever': choose auto, balanced, balanced_low_0 or sequential; in Python also
    a dict of parts and their devices
    """
    if isinstance(device_map, str):
        if device_map not in _STRATEGIES:
            known = f"{', '.join(_STRATEGIES[:-1])} or {_STRATEGIES[-1]}"
            raise UsageError(
                f"unknown device map {device_map!r}: choose {known}; in Python also a dict of parts and their devices"
            )
        return device_map
    if not device_map:
        raise UsageError('the device map is empty: give each part a device, as in {"": "cpu"}, or "auto"')
    # By name: a file of weights does not take a torch.device.
    return {part: _DISK if device == _DISK else str(find_device(_name(device))) for part, device in device_map.items()}


def refuse_nested_parts(device_map: str | dict[str, str], name: str) -> None:
    """Refuse a part inside another one that is elsewhere: a model that is loaded so lacks its weights.

    Raises
    ------
    UsageError
        With the two parts.
    """
    homes = {} if isinstance(device_map, str) else device_map
    for outer, home in homes.items():
        for inner, other in homes.items():
            if inner != outer and other != home and inner.startswith(f"{outer}." if outer else ""):
                whole = repr(outer) if outer else "the whole model"
                raise UsageError(
                    f"{name}: the device map places {inner!r} on {other} and {whole} around it on {home}: "
                    f"name the parts of {whole} instead"
                )


def refuse_unknown_parts(device_map: str | dict[str, str], module: nn.Module, name: str) -> None:
    """Refuse a device map that names parts which the model does not have.

    Raises
    ------
    UsageError
        With the parts that it has.
    """
    if isinstance(device_map, str):
        return
    parts = {path for path, _ in (*module.named_modules(), *module.named_parameters(), *module.named_buffers())}
    if unknown := [part for part in device_map if part not in parts]:
        known = ", ".join(path for path, _ in module.named_children())
        raise UsageError(f"{name}: the device map names {unknown[0]!r}, which is no part of the model: it has {known}")


@contextmanager
def offload_folder() -> Iterator[str]:
    """Yield a folder for weights that are kept on disk; it is removed when the process ends, or now if it stays empty."""
    folder = tempfile.mkdtemp(prefix="offload.", suffix=".tmp", dir=cache_folder())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        yield folder
    finally:
        if not os.listdir(folder):
            os.rmdir(folder)


def spread(module: nn.Module, device_map: str | dict[str, str], name: str) -> None:
    """Spread a model that is in memory over devices.

    Raises
    ------
    UsageError
        The map names a part that the model does not have.
    """
    from accelerate import dispatch_model, infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    refuse_unknown_parts(device_map, module, name)
    if isinstance(device_map, str):
        whole = list(getattr(module, "_no_split_modules", None) or ())
        memory = None
        if device_map != "sequential":
            low = device_map == "balanced_low_0"
            memory = get_balanced_memory(module, no_split_module_classes=whole, low_zero=low)
        device_map = infer_auto_device_map(module, max_memory=memory, no_split_module_classes=whole)
    with offload_folder() as folder:
        skipped = getattr(module, "_skip_keys_device_placement", None)
        dispatch_model(module, device_map, offload_dir=folder, skip_keys=skipped)


def is_spread(module: nn.Module) -> bool:
    """Return whether accelerate moves the inputs or the weights of a model's parts."""
    return any(hasattr(part, "_hf_hook") for part in module.modules())


def device_names(module: nn.Module) -> str:
    """Return the devices of a model's weights, as results record them.

    Examples
    --------
    >>> device_names(nn.Linear(2, 2))
    'cpu'
    """
    placed = getattr(module, "hf_device_map", None)
    if isinstance(placed, Mapping) and placed:
        return ", ".join(sorted({_name(device) for device in placed.values()}))
    devices = {_home(part) or str(tensor.device) for part in module.modules() for _, tensor in _direct_tensors(part)}
    return ", ".join(sorted(devices))


def input_device(module: Any) -> torch.device:
    """Return the device on which a model takes its inputs: that of its embedding."""
    return running_device(module.get_input_embeddings() or module)


def running_device(module: nn.Module) -> torch.device:
    """Return the device on which a module, or its first part with weights, runs.

    Examples
    --------
    >>> running_device(nn.Linear(2, 2))
    device(type='cpu')
    """
    for part in module.modules():
        device = _execution_device(part)
        if device is not None:
            return device
    return next(module.parameters()).device


@contextmanager
def loaded_tensors(part: nn.Module) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """Yield the parameters and buffers of a part itself, those that are kept elsewhere read into memory for the moment.

    Examples
    --------
    >>> with loaded_tensors(nn.Linear(2, 3)) as tensors:
    ...     [(name, tuple(tensor.shape)) for name, tensor in tensors]
    [('weight', (3, 2)), ('bias', (3,))]
    """
    hook: Any = getattr(part, "_hf_hook", None)
    if hook is None or not any(tensor.is_meta for _, tensor in _direct_tensors(part)):
        yield _direct_tensors(part)
        return
    hook.pre_forward(part)
    try:
        yield _direct_tensors(part)
    finally:
        hook.post_forward(part, None)


def _direct_tensors(part: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]


def _hooks(part: nn.Module) -> list[Any]:
    hook: Any = getattr(part, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))


def _execution_device(part: nn.Module) -> torch.device | None:
    devices = [getattr(hook, "execution_device", None) for hook in _hooks(part)]
    found = [device for device in devices if device is not None]
    return torch.device(found[-1]) if found else None


def _home(part: nn.Module) -> str:
    """Return where the weights of a part are kept between its calls, if that is not where they are now."""
    for hook in _hooks(part):
        if getattr(hook, "offload", False):
            dataset = getattr(hook.weights_map, "dataset", hook.weights_map)
            return _DISK if getattr(dataset, "index", None) else "cpu"
    return ""


def _name(device: str | int | torch.device) -> str:
    if not isinstance(device, int):
        return str(device)
    try:
        return str(torch.device(device))
    except RuntimeError as error:  # the number of an accelerator
        raise ModelError(f"device {device} is not available on this machine: use cpu") from error
