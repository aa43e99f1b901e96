"""Check the variables of a Dataset in memory before a function uses it. This module does not depend on measures."""

from collections.abc import Iterable, Mapping

import xarray

from layerscope.errors import UsageError

__all__ = ["require_variables"]


def require_variables(
    dataset: xarray.Dataset,
    kind: str,
    variables: Mapping[str, Iterable[object]],
    *,
    required: Iterable[str] = (),
    text: Iterable[str] = (),
) -> None:
    """Refuse a dataset that lacks a variable, or has one on other dimensions, without values, or as text.

    Parameters
    ----------
    dataset
        The dataset.
    kind
        The expected kind and the command that makes it, as in ``"sweep: make one with layerscope sweep"``.
    variables
        The dimensions of each variable, in any order. A missing variable is an error only if it is `required`.
    required
        The variables that must exist.
    text
        The variables that are text, not numbers.

    Raises
    ------
    UsageError
        Names the first faulty variable.

    Examples
    --------
    >>> require_variables(xarray.Dataset(), "sweep: make one with layerscope sweep", {"loss": ("run",)}, required=["loss"])
    Traceback (most recent call last):
    layerscope.errors.UsageError: the dataset lacks 'loss'
    not a complete sweep: make one with layerscope sweep
    """

    def wrong(what: str) -> UsageError:
        return UsageError(f"the dataset {what}\nnot a complete {kind}")

    for name in required:
        if name not in dataset.variables and (name not in dataset.dims or name in text):
            raise wrong(f"lacks {name!r}")
    for name, dims in variables.items():
        if name not in dataset.variables:
            continue
        variable = dataset.variables[name]
        if set(variable.dims) != set(dims):
            raise wrong(f"has {name!r} on {variable.dims}, expected {tuple(dims)}")
        if name not in text and variable.dtype.kind not in "fiub":
            raise wrong(f"has {name!r} as {variable.dtype}, expected numbers")
        if not variable.size:
            raise wrong(f"has {name!r} without values")
