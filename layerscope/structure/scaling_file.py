"""Scaling files, told from other result files. Knows Datasets and files; compares nothing."""

import os

import xarray

from layerscope.arguments import checked
from layerscope.measures.files import holds, read_result

__all__ = ["holds_a_scaling", "read_scaling"]


@checked
def read_scaling(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a scaling file into memory.

    Raises
    ------
    FileError
        When it is missing, truncated or no scaling.
    """
    return read_result(path, "scaling", "scaling", dimension="reading", mark="size")


def holds_a_scaling(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a scaling; one that cannot be read is not, and its reader will say why."""
    return holds(path, "reading", "size_bootstrap")
