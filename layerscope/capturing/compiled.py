"""Compile the blocks of a model during a capture; where that fails, continue without.

Only the code of the blocks is compiled: the recorded states are between them. Blocks of one class share the compiled code.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from layerscope.models.model import Model

__all__ = ["compiled_blocks"]

_BACKEND = "inductor"
_FORWARD = "forward"


@contextmanager
def compiled_blocks(model: Model) -> Iterator[None]:
    """Run the blocks compiled by ``torch.compile`` inside the context.

    Warns
    -----
    UserWarning
        The compiler fails; the blocks then run uncompiled.
    """
    blocks: dict[int, Any] = {id(block): block for block in model.blocks}
    before = {number: vars(block).get(_FORWARD) for number, block in blocks.items()}
    failures: list[str] = []
    try:
        for block in blocks.values():
            block.forward = _either(block.forward, failures, model.name)
        yield
    finally:
        for number, block in blocks.items():
            if before[number] is None:
                del block.forward
            else:
                block.forward = before[number]


def _either(plain: Any, failures: list[str], name: str) -> Any:
    """Return the compiled form of a function, which calls the plain one once a compilation has failed."""
    compiled: Any = torch.compile(plain, dynamic=True, backend=_BACKEND)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if failures:
            return plain(*args, **kwargs)
        try:
            return compiled(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise many classes of error
            result = plain(*args, **kwargs)  # an error of the model itself is raised here
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            failures.append(reason)
            warnings.warn(f"{name}: --compile fails ({reason[:160]}); continuing without it", stacklevel=2)
            return result

    return forward
