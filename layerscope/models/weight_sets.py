"""Decide what to do with a folder that holds the weights twice, such as safetensors and ``.bin`` files.

transformers loads the first set that it finds and ignores the others. Two sets of one model are common in published folders. Two
sets of different models are an accident: a fine-tuned model saved over a download, for example. The first values of every tensor
show which it is, without reading the files whole.
"""

import warnings

import torch

from layerscope.errors import ModelError
from layerscope.models.checkpoint import Checkpoint, other_weights

__all__ = ["check_weight_sets"]

_COMPARED = 1024  # values of each tensor


def check_weight_sets(checkpoint: Checkpoint, name: str) -> None:
    """Refuse a folder with two different sets of weights; warn of a second set that looks equal or cannot be read.

    Raises
    ------
    ModelError
        A tensor has another shape in the second set, or other values among the first 1,024.
    """
    for other in other_weights(checkpoint):
        used, unused = checkpoint.files[0].name, other.files[0].name
        try:
            compared, difference = _compare(checkpoint, other)
        except Exception as error:  # the files are not used: any fault of theirs is reported, and no reason to stop
            compared, difference = f"it cannot be read: {type(error).__name__}", None
        if difference is not None:
            raise ModelError(
                f"{name}: {used} and {unused} hold different weights, first in {difference}.\n"
                "Move the files that are not of this model out of its folder."
            )
        warnings.warn(
            f"{name}: the folder holds the weights twice; {used} is used, {unused} is not ({compared})", stacklevel=5
        )


def _compare(one: Checkpoint, other: Checkpoint) -> tuple[str, str | None]:
    """Return a description of the comparison, and the first tensor that differs or None."""
    common = sorted(one.tensors.keys() & other.tensors.keys())
    if not common:
        return "their tensors have other names, so they were not compared", None
    for name in common:
        if one.tensors[name].shape != other.tensors[name].shape:
            return "", name
    here, there = one.read_starts(_COMPARED), other.read_starts(_COMPARED)
    difference = next((name for name in common if not _equal(here[name], there[name])), None)
    return f"the first {_COMPARED:,} values of each tensor are equal", difference


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare two tensors in the coarser of their dtypes."""
    if one.is_floating_point() and other.is_floating_point():
        coarser = max(one.dtype, other.dtype, key=lambda dtype: torch.finfo(dtype).eps)
        one, other = one.to(coarser), other.to(coarser)
    return torch.equal(one.nan_to_num(), other.nan_to_num())
