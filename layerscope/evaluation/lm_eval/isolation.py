"""Terms on which lm-eval runs: silent, and with its own random numbers, which stay its own.

lm-eval prints, logs and shows bars wherever it goes, and seeds the generators of the whole process. Knows libraries; knows no
task and no model. Importing it does not import lm-eval.
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

__all__ = ["Randomness", "seeded", "silent"]

_LOGGERS = ("lm_eval", "datasets", "fsspec", "httpx")


@contextmanager
def silent(*, printing: bool = False) -> Iterator[None]:
    """Keep warnings and advice of lm-eval, datasets and transformers off the terminal.

    Parameters
    ----------
    printing
        Let through what is written to the streams: progress of our own is drawn there.
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
class Randomness:
    """Where the generators of Python and NumPy stand that belong to the whole process."""

    python: tuple[Any, ...]
    numpy: dict[str, Any] | tuple[Any, ...]

    @classmethod
    def now(cls) -> "Randomness":
        """Return where they stand."""
        return cls(random.getstate(), np.random.get_state())

    def put_back(self) -> None:
        """Let them go on from here."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)


@contextmanager
def seeded(numbers: Randomness | None = None) -> Iterator[None]:
    """Run with the generators as ``lm_eval.simple_evaluate`` seeds them; afterwards they go on where they were.

    Parameters
    ----------
    numbers
        Where those of Python and NumPy are to stand; None for lm-eval's seeds.

    Examples
    --------
    >>> before = random.getstate()
    >>> with seeded():
    ...     print(random.random())
    0.8444218515250481
    >>> random.getstate() == before
    True
    """
    before = Randomness.now()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_OTHER_SEED)
        if numbers is None:
            random.seed(_PYTHON_SEED)
            np.random.seed(_OTHER_SEED)
        else:
            numbers.put_back()
        try:
            yield
        finally:
            before.put_back()


_PYTHON_SEED, _OTHER_SEED = 0, 1234  # the defaults of simple_evaluate
