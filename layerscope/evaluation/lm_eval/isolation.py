"""Run lm-eval in isolation: without its output, and without its changes to the random generators of the process.

lm-eval prints, logs, draws progress bars, and seeds the global random generators. This module does not import lm-eval.
"""

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from layerscope.models.loader_errors import silence_loaders

__all__ = ["RandomState", "seeded", "silent"]

_LOGGERS = ("lm_eval", "datasets", "fsspec", "httpx")


@contextmanager
def silent(*, printing: bool = False) -> Iterator[None]:
    """Suppress warnings and log messages of lm-eval, datasets and transformers.

    Parameters
    ----------
    printing
        Keep standard output and error, on which LayerScope draws its own progress.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(silence_loaders())
        if not printing:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@dataclass(frozen=True)
class RandomState:
    """State of the global random generators of Python and NumPy."""

    python: tuple[Any, ...]
    numpy: dict[str, Any] | tuple[Any, ...]

    @classmethod
    def now(cls) -> "RandomState":
        """Return the present state."""
        return cls(random.getstate(), np.random.get_state())

    def restore(self) -> None:
        """Set the generators to this state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)


@contextmanager
def seeded(state: RandomState | None = None) -> Iterator[None]:
    """Run with the generators as ``lm_eval.simple_evaluate`` seeds them; restore their state afterwards.

    Parameters
    ----------
    state
        State of the generators of Python and NumPy; None for lm-eval's seeds.

    Examples
    --------
    >>> before = random.getstate()
    >>> with seeded():
    ...     print(random.random())
    0.8444218515250481
    >>> random.getstate() == before
    True
    """
    before = RandomState.now()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_OTHER_SEED)
        if state is None:
            random.seed(_PYTHON_SEED)
            np.random.seed(_OTHER_SEED)
        else:
            state.restore()
        try:
            yield
        finally:
            before.restore()


_PYTHON_SEED, _OTHER_SEED = 0, 1234  # the defaults of simple_evaluate
