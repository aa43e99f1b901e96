"""Find how many tokens of a batch fit the memory of an accelerator.

Two trial batches show what a token needs beyond the weights; memory grows in proportion to the tokens of a batch whose sequences
have a fixed length. A processor gains nothing from larger batches than the default, so there it is the answer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from layerscope.capturing.batch_rows import BatchRows
from layerscope.capturing.feeds import Feed
from layerscope.capturing.gathering import Gatherer
from layerscope.capturing.inputs import Inputs
from layerscope.capturing.options import BATCH_TOKENS
from layerscope.capturing.protocol import Backend, CaptureSpec
from layerscope.errors import CaptureError
from layerscope.models.model import Model

__all__ = ["find_batch_tokens", "largest_batch"]

_LENGTH = 256
_SHARE = 0.8  # of free memory; attention over longer texts needs more a token
_MOST = 2**17


def find_batch_tokens(
    model: Model, backend: Backend, spec: CaptureSpec, store_dtype: torch.dtype, feed: Feed, longest: int | None
) -> int:
    """Return the number of tokens of a batch for the device of the model.

    Parameters
    ----------
    model, backend, spec, store_dtype
        What a batch runs, records and stores.
    feed
        Makes the trial batches.
    longest
        Longest sequence in tokens.

    Raises
    ------
    CaptureError
        Not even one short text fits.
    """
    if model.device.type != "cuda":
        return BATCH_TOKENS
    _, length = feed.trial(1, min(_LENGTH, longest or _LENGTH))
    cuda: Any = torch.cuda

    def peak(lines: int) -> int:
        cuda.empty_cache()
        cuda.reset_peak_memory_stats(model.device)
        before = cuda.memory_allocated(model.device)
        try:
            _try(model, backend, spec, store_dtype, *feed.trial(lines, length))
        except torch.OutOfMemoryError as error:
            raise CaptureError(
                f"{model.name}: --batch-tokens auto: no size fits: {lines} texts of {length} tokens do not fit {model.devices}\n"
                "give a number, --dtype bfloat16, or --device-map auto"
            ) from error
        return int(cuda.max_memory_allocated(model.device) - before)

    free, _ = cuda.mem_get_info(model.device)
    return largest_batch(peak, int(free), length)


def largest_batch(peak: Callable[[int], int], free: int, length: int) -> int:
    """Return the tokens of a batch for some free memory.

    Parameters
    ----------
    peak
        Returns the bytes that a batch of some lines needs.
    free
        Bytes.
    length
        Tokens of a line.

    Examples
    --------
    >>> largest_batch(lambda lines: 100 + 1000 * lines, free=100_000, length=10)
    790
    """
    one, two = peak(2), peak(4)
    each = max(1, (two - one) // 2)
    lines = int((_SHARE * free - (one - 2 * each)) // each)
    return min(_MOST, max(1, lines) * length)


def _try(
    model: Model, backend: Backend, spec: CaptureSpec, store_dtype: torch.dtype, inputs: Inputs, length: int
) -> None:
    """Run and gather a batch whose lines have some tokens."""
    lines = inputs.lines
    positions = [np.arange(length)] * lines
    batch = BatchRows(np.arange(lines), positions, positions, length * np.arange(lines))
    gatherer = Gatherer(spec, store_dtype)
    gatherer.begin(batch)
    gatherer.run(batch)
    with backend.session(model, spec, gatherer.take) as session:
        session(inputs)
    gatherer.done()
    gatherer.end().wait()
