"""What the tests of the store share: small captures whose every row can be told from its number."""

from pathlib import Path

import numpy as np
import torch

from layerscope.states import StateRows
from layerscope.store.index import SequenceIndex
from layerscope.store.layout import CaptureLayout
from layerscope.store.schema import FILE_ATTRIBUTES
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter

INTEGERS = ("num_blocks", "parameters", "truncated_sequences", "skipped_texts")
ATTRIBUTES: dict[str, str | int | float] = {
    name: 3 if name in INTEGERS else f"some {name} — ü" for name in FILE_ATTRIBUTES if name != "complete"
}
SETTINGS = {"backend": "hooks", "batch_tokens": 2048, "layers": None, "seed": 0}


def layout(
    *, layers: int = 3, width: int = 5, dtype: torch.dtype = torch.bfloat16, final_norm: bool = False
) -> CaptureLayout:
    names = ("embedding", *(f"block.{block}" for block in range(layers - 1)))
    return CaptureLayout(tuple(range(layers)), names, width, dtype, final_norm)


def fill(index: SequenceIndex, lengths: list[int], keep_last: bool = False) -> SequenceIndex:
    """Add sequences whose token ids are 1000 times their number plus the position."""
    for sequence, length in enumerate(lengths):
        positions = [length - 1] if keep_last else None
        index.add(f"text {sequence} ß", [1000 * sequence + position for position in range(length)], positions)
    return index


def states(tokens: int, of: CaptureLayout, seed: int = 0) -> torch.Tensor:
    """Make float32 states; row by row the same whatever is written when."""
    return torch.randn(tokens, len(of.layer), of.width, generator=torch.Generator().manual_seed(seed))


def rows_of(
    index: SequenceIndex, hidden: torch.Tensor, row: np.ndarray, final: torch.Tensor | None = None
) -> StateRows:
    """Pick rows, in the order given, with everything the index says of them."""
    blocks = list(index.blocks())
    whole = {
        name: np.concatenate([getattr(b, name) for b in blocks]) for name in ("sequence_index", "position", "token_id")
    }
    kept = {name: numbers[row] for name, numbers in whole.items()}
    return StateRows(hidden[row], row, **kept, final_norm=None if final is None else final[row])


def write_capture(
    path: Path,
    hidden: torch.Tensor,
    of: CaptureLayout,
    *,
    lengths: list[int] | None = None,
    batches: list[np.ndarray] | None = None,
    final: torch.Tensor | None = None,
    finish: bool = True,
) -> Path:
    """Write a capture of one sequence, or of sequences of the given lengths, in the given batches of rows."""
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [len(hidden)] if lengths is None else lengths)
        with CaptureWriter.create(target, of, index, ATTRIBUTES, SETTINGS) as writer:
            for batch in [np.arange(len(hidden))] if batches is None else batches:
                writer.update(rows_of(index, hidden, batch, final))
                writer.commit()
            if finish:
                writer.finish()
    return path
