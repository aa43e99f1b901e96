"""A second device made up on the CPU, so that a model can be spread over two devices where there is one.

Its tensors keep their values in the memory of the CPU and say that they are elsewhere. As on real devices, an operation on
tensors of both devices fails, unless it copies between them, or one of the tensors is a single number or an index on the CPU.

Importing this module registers the device with torch for the whole process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_MODULE = SimpleNamespace(
    device_count=lambda: 0, is_available=lambda: False, _is_in_bad_fork=lambda: False, manual_seed_all=lambda seed: None
)
_setup_privateuseone_for_python_backend("second", backend_module=_MODULE)
SECOND, CPU = torch.device("second:0"), torch.device("cpu")


class SecondDeviceTensor(torch.Tensor):
    """A tensor on the second device."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "SecondDeviceTensor":
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, values.size(), dtype=values.dtype, device=SECOND, **layout)
        made.values = values.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """Makes constants on the CPU and then moves them: torch fills them without a dispatch."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        device = options.pop("device", None) if function is torch.tensor else None
        made = function(*args, **options)
        return made if device is None else made.to(device)


@contextmanager
def second_device() -> Iterator[None]:
    """Have the second device inside the context."""
    with _Dispatch(), _Constants():
        yield


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the values of its tensors, and put its result where its arguments are."""
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    where = SECOND if any(one.device == SECOND for one in given) else CPU
    if operation is torch.ops.aten.copy_.default:
        where = given[0].device
    elif any(one.device != where and one.ndim for one in given) and "index" not in operation.name():
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device")
    if kwargs.get("device") is not None:
        where, kwargs = torch.device(kwargs["device"]), kwargs | {"device": CPU}
    args, kwargs = tree_map_only(SecondDeviceTensor, lambda one: one.values, (args, kwargs))
    result = operation(*args, **kwargs)
    if operation._schema.is_mutable and isinstance(result, torch.Tensor):
        return given[0]
    return tree_map_only(torch.Tensor, SecondDeviceTensor, result) if where == SECOND else result
