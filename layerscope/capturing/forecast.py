"""Forecast what a capture needs, before it runs: rows, disk, operations and memory.

The texts are tokenized as for the capture, and its batches are planned. The model is known from its configuration
(`layerscope.models.outline`), or loaded if only a run shows its sizes.
"""

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from torch import nn

from layerscope.arguments import checked_with
from layerscope.capturing.batch_rows import BatchRows, plan_rows
from layerscope.capturing.capture import capture
from layerscope.capturing.feeds import SequenceStream
from layerscope.capturing.flops import forward_flops
from layerscope.capturing.indexing import index_texts
from layerscope.capturing.options import AUTO, BATCH_TOKENS, CaptureOptions
from layerscope.capturing.request import CaptureRequest, resolve
from layerscope.errors import UsageError
from layerscope.models.identity import identify
from layerscope.models.loading import ModelLike, as_model
from layerscope.models.model import Model
from layerscope.models.outline import outline
from layerscope.models.stored_model import DTYPES, Placement
from layerscope.outputs import writable
from layerscope.store.index import SequenceIndex
from layerscope.store.layout import CaptureLayout
from layerscope.store.schema import chunk_tokens
from layerscope.store.space import free_bytes
from layerscope.texts.sources import Texts

__all__ = ["CaptureForecast", "forecast"]

_BUFFERS = 2  # of the rows of a batch; see `layerscope.capturing.gathering`


@dataclass(frozen=True)
class CaptureForecast:
    """What a capture needs. Sizes are in bytes.

    Attributes
    ----------
    model, weights_read
        Its name, and whether it had to be loaded.
    sequences, tokens, rows, truncated, skipped
        As in `layerscope.capturing.report.CaptureReport`.
    batches, padded_tokens
        Number of batches, and tokens that run with their padding.
    flops
        Floating-point operations of the blocks; see `layerscope.capturing.flops`.
    file_bytes, variable_bytes, free_bytes
        Size of the file, at most; of its states by variable, and of the index with HDF5's metadata; free space on its disk.
    model_bytes, buffer_bytes
        Memory of the weights, and of two buffers for the rows of the largest batch. Activations come on top.
    changes
        Rows, bytes of the file and operations with another option, by that option; those that change something.
    """

    model: str
    weights_read: bool
    sequences: int
    tokens: int
    rows: int
    truncated: int
    skipped: int
    batches: int
    padded_tokens: int
    flops: int
    file_bytes: int
    variable_bytes: dict[str, int]
    free_bytes: int
    model_bytes: int
    buffer_bytes: int
    changes: dict[str, dict[str, int]]

    def as_json(self) -> str:
        """Return all fields as JSON."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        fits = "" if self.file_bytes <= self.free_bytes else "  does not fit"
        facts = {
            "model": self.model + (" (loaded)" if self.weights_read else " (weights not read)"),
            "sequences": f"{self.sequences:,} ({self.truncated:,} truncated, {self.skipped:,} skipped)",
            "tokens": f"{self.tokens:,} in {self.batches:,} batches, {self.padded_tokens:,} with padding",
            "rows": f"{self.rows:,}",
            "file": decimal(self.file_bytes),
            **{f"  {name}": decimal(size) for name, size in self.variable_bytes.items()},
            "free on disk": decimal(self.free_bytes) + fits,
            "operations": f"{self.flops:.3g} FLOPs",
            "memory of weights": decimal(self.model_bytes),
            "memory of buffers": decimal(self.buffer_bytes),
        }
        wide = max(map(len, [*facts, *self.changes]))
        lines = [f"{name:<{wide}}  {value}" for name, value in facts.items()]
        table = [f"{'with':<{wide}}  {'rows':>12}  {'file':>10}  {'FLOPs':>9}"] + [
            f"{name:<{wide}}  {one['rows']:>12,}  {decimal(one['file_bytes']):>10}  {one['flops']:>9.3g}"
            for name, one in self.changes.items()
        ]
        return "\n".join([*lines, "", *table])


@checked_with(capture, without=["sinks", "resume", "overwrite"])
def forecast(
    model: ModelLike,
    texts: Texts = "builtin:passages",
    output: str | os.PathLike[str] | None = None,
    **options: Any,
) -> CaptureForecast:
    """Forecast what a capture of a model over texts needs. Nothing is written.

    The weights are read only if the configuration is not enough: for learned positions, other streams than
    ``"resid"``, ``final_norm``, other backends than ``"hooks"``, images, and adapters. A GGUF file is converted first.

    Parameters
    ----------
    model, texts
        As for `layerscope.capture`.
    output
        Where the file would be, for the free space; by default the current folder.
    **options
        The options of `layerscope.capture`, but not `generate`: what a model writes is not known before.

    Returns
    -------
    CaptureForecast

    Raises
    ------
    UsageError, ModelError, TextsError, ScheduleError, CaptureError
        As for `layerscope.capture`.

    Examples
    --------
    >>> import layerscope as ls, transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> need = ls.forecast(transformers.AutoModelForCausalLM.from_config(config), [[1, 2, 3], [4, 5]], tokens="last")
    >>> need.tokens, need.rows, need.changes["--tokens all"]["rows"]
    (5, 2, 5)
    """
    chosen = CaptureOptions(**options)
    if chosen.generate:
        raise UsageError(
            "--generate: a forecast needs the texts as they run: give it the continued texts, or leave it out"
        )
    path = Path("capture.h5") if output is None else writable(Path(output), model, texts)
    request, loaded = _request(model, texts, chosen)
    return _of_request(request, loaded, free_bytes(path))


def _request(model: ModelLike, texts: Texts, options: CaptureOptions) -> tuple[CaptureRequest, bool]:
    """Return the capture, and whether the weights of its model are in memory."""
    source = options.open_source(texts)
    found, loaded = _model(model, options)
    if not loaded and options.batch_tokens == AUTO:
        options = replace(options, batch_tokens=BATCH_TOKENS)  # the device is not tried
    return resolve(found, source, options), loaded


def _model(model: ModelLike, options: CaptureOptions) -> tuple[Model, bool]:
    """Return the model, and whether its weights are in memory."""
    known = options.stream_names == ("resid",) and options.backend == "hooks" and options.images is None
    if not isinstance(model, Model | nn.Module) and known and not options.final_norm and options.stack is None:
        placement = Placement.of(options.dtype, options.device, options.device_map, options.attn)
        found = outline(identify(model), placement)
        if found is not None:
            return found, False
    return as_model(model, **options.of_model), True


def _of_request(request: CaptureRequest, loaded: bool, free: int) -> CaptureForecast:
    """Tokenize the texts and forecast their capture."""
    with SequenceIndex(**request.of_index) as index:
        stream = index_texts(index, request)
        return _forecast(request, index, loaded, free, stream)


def _forecast(
    request: CaptureRequest, index: SequenceIndex, loaded: bool, free: int, stream: SequenceStream
) -> CaptureForecast:
    model, layout = request.model, request.layout
    batches = _shapes(index, request)
    shapes = [(lines, length) for lines, length, _ in batches]
    states = layout.store_dtype.itemsize * layout.width * sum(map(len, layout.variables.values()))
    weights = sum(one.numel() * one.element_size() for one in (*model.module.parameters(), *model.module.buffers()))
    flops = _flops(request, shapes, request.spec.layers)
    return CaptureForecast(
        model.name,
        loaded,
        index.sequences,
        index.tokens,
        index.rows,
        stream.truncated,
        stream.skipped + request.source.skipped,
        len(batches),
        sum(lines * length for lines, length in shapes),
        flops,
        layout.forecast_bytes(index.rows, index.sequences),
        _by_variable(layout, index),
        free,
        weights,
        _BUFFERS * states * max(rows for _, _, rows in batches),
        _changes(request, index, shapes, flops),
    )


def _shapes(index: SequenceIndex, request: CaptureRequest) -> list[tuple[int, int, int]]:
    """Return the lines, the padded length and the rows of each batch of a capture."""

    def shape(batch: BatchRows) -> tuple[int, int, int]:
        return len(batch.token_ids), max(map(len, batch.token_ids)), batch.rows

    size = int(request.options.batch_tokens)  # `resolve` has found the number for "auto"
    return [shape(batch) for batch in plan_rows(index, size, request.model.length_dependence)]


def _flops(request: CaptureRequest, shapes: list[tuple[int, int]], layers: tuple[int, ...]) -> int:
    """Return the operations of the blocks before the last recorded state; a pass stops there."""
    model, spec = request.model, request.spec
    stages = (
        [(block,) for block in range(model.depth)] if spec.schedule is None else [tuple(one) for one in spec.schedule]
    )
    needed = [max(layers, default=0), *(block + 1 for block in spec.blocks), len(stages) * spec.final_norm]
    calls = [block for stage in stages[: max(needed)] for block in stage]
    sizes = [sum(one.numel() for one in block.parameters()) for block in model.blocks]
    return forward_flops(sum(sizes[block] for block in calls), len(calls), _attention_width(model), shapes)


def _attention_width(model: Model) -> int:
    config = model.text_config
    heads = getattr(config, "num_attention_heads", None) or 0
    return int(heads * (getattr(config, "head_dim", None) or model.width // max(1, heads)))


def _by_variable(layout: CaptureLayout, index: SequenceIndex) -> dict[str, int]:
    """Return the bytes of the states of each variable in whole chunks, and of the rest."""
    in_chunk = chunk_tokens(index.rows, layout.width, layout.store_dtype.itemsize)
    rows = math.ceil(index.rows / in_chunk) * in_chunk
    sizes = {
        name: rows * len(held) * layout.width * layout.store_dtype.itemsize for name, held in layout.variables.items()
    }
    return {**sizes, "index and header": layout.forecast_bytes(index.rows, index.sequences) - sum(sizes.values())}


def _changes(
    request: CaptureRequest, index: SequenceIndex, shapes: list[tuple[int, int]], flops: int
) -> dict[str, dict[str, int]]:
    """Return what single other options would need; the others stay."""
    layout, rows, texts = request.layout, index.rows, index.sequences

    def need(rows: int, of: CaptureLayout | None = layout, operations: int = flops) -> dict[str, int]:
        size = 0 if of is None else of.forecast_bytes(rows, texts)
        return {"rows": rows, "file_bytes": size, "flops": operations}

    changes = {
        "as given": need(rows),
        "--tokens all": need(index.tokens),
        "--tokens last": need(texts),
        "--store-dtype bfloat16": need(rows, replace(layout, store_dtype=DTYPES["bfloat16"])),
    }
    if request.spec.layers and not request.spec.streams:
        middle = request.spec.layers[len(request.spec.layers) // 2]
        place = layout.layer.index(middle)
        one = replace(layout, layer=(middle,), layer_name=(layout.layer_name[place],))
        changes[f"--layers {middle}"] = need(rows, one, _flops(request, shapes, (middle,)))
    changes["statistics only (no file)"] = need(rows, None)
    return {name: one for name, one in changes.items() if name == "as given" or one != changes["as given"]}
