"""Run the large operations of an analysis on a device.

Accumulators and kernels are written once, for states in the memory of the host. Inside `on_device`, every large product and
decomposition runs on the device, and its result stays there, where later operations on it run too. A value returns to the host
when it is added to a sum of the host, or is read as an array.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from layerscope.errors import ModelError
from layerscope.threads import surrounded

__all__ = ["has_float64", "on_device"]

_HOST = torch.device("cpu")
_PRODUCTS = frozenset(["matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "tensordot", "einsum", "cdist"])
_DECOMPOSITIONS = frozenset(["linalg_svd", "linalg_svdvals", "linalg_eigh", "linalg_eigvalsh", "linalg_qr"])
_IN_PLACE = frozenset(
    ["__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__iand__", "__ior__", "__ixor__"]
)
_CHOOSES_FROM = frozenset(["__getitem__", "index_select", "take_along_dim", "gather"])
_READS = frozenset(["numpy", "__array__", "tolist"])

_LEAST_VALUES = 1 << 15
"""Least number of values in the operands: a smaller product runs on the host, without copies."""


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Run the large operations of this thread, and of the jobs that it submits, on a device.

    Products of float32 use all of its digits there, not those of TensorFloat-32.

    Raises
    ------
    ModelError
        The device has no float64.

    Examples
    --------
    >>> with on_device(torch.device("cpu")):
    ...     torch.ones(2, 2) @ torch.ones(2)
    tensor([2., 2.])
    """
    if device == _HOST:
        yield
        return
    if not has_float64(device):
        raise ModelError(f"device {str(device)!r} has no float64, in which sums are kept: analyse with --device cpu")
    with surrounded(partial(_Placement, device)):
        yield


@cache
def has_float64(device: torch.device) -> bool:
    """Return whether a device computes in float64.

    Examples
    --------
    >>> has_float64(torch.device("cpu"))
    True
    """
    try:
        torch.ones(1, dtype=torch.float64).to(device)
    except (RuntimeError, TypeError):  # depends on the kind of device
        return False
    return True


class _Placement(TorchFunctionMode):
    """Places the operands of each operation of torch before it runs."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        where, shortened = self._place(name, given), name in _PRODUCTS and _takes_tf32()
        if where is None and not shortened:
            return function(*args, **kwargs)
        out = kwargs.pop("out", None)
        result = self._run(_in_float64(function) if shortened else function, where, args, kwargs)
        return result if out is None else out.copy_(result)

    def _place(self, name: str, given: list[torch.Tensor]) -> torch.device | None:
        """Return where an operation must have its operands; None if they are there already."""
        homes = {one.device for one in given}
        if name in _READS:
            return None if homes <= {_HOST} else _HOST
        if name in _IN_PLACE or name in _CHOOSES_FROM or (name.endswith("_") and not name.endswith("__")):
            return given[0].device if len(homes) > 1 else None
        large = name in _DECOMPOSITIONS or name in _PRODUCTS
        if large and homes == {_HOST} and sum(one.numel() for one in given) >= _LEAST_VALUES:
            return self.device
        return self.device if len(homes) > 1 else None

    def _run(self, function: Callable[..., Any], where: torch.device | None, args: Any, kwargs: Any) -> Any:
        try:
            return function(*_moved(args, where), **_moved(kwargs, where))
        except torch.OutOfMemoryError:
            warnings.warn(f"{self.device} is out of memory: a part is computed on the CPU", stacklevel=2)
            return function(*_moved(args, _HOST), **_moved(kwargs, _HOST))


def _moved(values: Any, where: torch.device | None) -> Any:
    return values if where is None else tree_map_only(torch.Tensor, lambda one: one.to(where), values)


def _takes_tf32() -> bool:
    """Return whether the user lets products of float32 lose digits. The setting is of the process, so it is not changed here."""
    own = torch.backends.cuda.matmul.fp32_precision
    everywhere = torch.backends.fp32_precision  # type: ignore[attr-defined]
    return bool((everywhere if own == "none" else own) == "tf32")


def _in_float64(product: Callable[..., Any]) -> Callable[..., Any]:
    """Return a product that multiplies in float64 and has the type of its operands."""

    def multiply(*args: Any, **kwargs: Any) -> Any:
        dtype = next(leaf.dtype for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
        wide = tree_map_only(torch.Tensor, torch.Tensor.double, (args, kwargs))
        return product(*wide[0], **wide[1]).to(dtype)

    return multiply
