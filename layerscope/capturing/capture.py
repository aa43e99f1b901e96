"""Capture the hidden states of a model over texts, into a file, into accumulators, or both."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from layerscope.arguments import checked
from layerscope.capturing.driver import run_batches
from layerscope.capturing.feeds import SequenceStream
from layerscope.capturing.indexing import index_texts
from layerscope.capturing.options import AUTO, BATCH_TOKENS, DEFAULT_TEXTS, BatchTokens, CaptureOptions
from layerscope.capturing.report import CaptureReport
from layerscope.capturing.request import CaptureRequest, prepare
from layerscope.errors import UsageError
from layerscope.models.attention import Attention
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.models.identity import identify
from layerscope.models.loading import ModelLike
from layerscope.outputs import writable
from layerscope.schedules.spec import ScheduleLike
from layerscope.states import Sink, StateRows
from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.resume import first_difference, refuse_other_settings
from layerscope.store.space import check_space
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from layerscope.texts.sources import Texts

__all__ = ["capture", "capture_to_sinks"]

_COMMIT_SECONDS = 2.0
"""Seconds of work that a kill can lose; a commit takes milliseconds."""


@checked
def capture(
    model: ModelLike,
    texts: Texts = DEFAULT_TEXTS,
    output: str | os.PathLike[str] | None = None,
    *,
    sinks: Sequence[Sink] = (),
    images: str | os.PathLike[str] | None = None,
    text_field: str | None = None,
    split: str = "line",
    metadata: Annotated[str | Iterable[str], 'names such as "author,year"'] | None = None,
    token_strings: bool = False,
    limit: int | None = None,
    max_length: int | None = None,
    backend: str = "hooks",
    schedule: ScheduleLike = "identity",
    dtype: str | None = None,
    store_dtype: str = "same",
    layers: Annotated[str, 'a string such as "0,5-10"'] | None = None,
    chat: bool = False,
    generate: int = 0,
    temperature: float = 0.0,
    tokens: Annotated[str, '"all", "first", "last", "mean", "generated", "sample:K" or "role:NAME"'] = "all",
    batch_tokens: BatchTokens = BATCH_TOKENS,
    streams: Annotated[str | Iterable[str], 'names such as "resid,attn,mlp"'] = "resid",
    final_norm: bool = False,
    spans: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    stack: Stack | None = None,
    attn: Attention | None = None,
    compile: bool = False,  # noqa: A002 (the name of the option)
) -> CaptureReport:
    """Run a model over texts or images and record the hidden states of its layers, in a file, in accumulators, or both.

    State 0 is the residual stream that enters the first block, state l the stream that leaves block l-1. The last state is
    taken before the final norm. Rows are in input order, padding is not stored, and the vocabulary head does not run.

    Parameters
    ----------
    model
        A hub id, a folder, a ``.gguf`` file, a model of transformers in memory, or the result of `layerscope.load_model`.
    texts
        ``"builtin:passages"``; a ``.txt``, ``.jsonl``, ``.csv``, ``.tsv`` (each also ``.gz``) or ``.parquet`` file; a folder that
        the datasets library has saved; ``"hf:DATASET/SPLIT"``; ``"-"`` for standard input; or the texts themselves: a DataFrame,
        a dataset, a mapping of ids to texts, or an iterable of strings, of mappings with a field ``text``, or of lists of token
        ids.
    output
        The capture file. With None, no states are stored: only the sinks receive them.
    sinks
        Accumulators with an ``update(rows)`` method, such as `layerscope.measures.streaming.Statistics`. They receive rows
        in the order of the batches, not of the texts.
    images
        A folder of images instead of texts, for a model of which a token is a patch (token id -1; position 0 is the class token,
        if it has one). ``sequence_id`` is the name of the file; ``image_width``, ``image_height``, ``image_hash`` identify it.
    text_field
        Field with the text or the token ids, ``text`` or ``input_ids`` by default; a dot reaches into nested records.
    split
        What separates the texts of a ``.txt``: ``"line"`` or ``"blank-line"``.
    metadata
        Fields to keep as variables over ``sequence``.
    token_strings
        Also store the name of each token in the vocabulary, as the variable ``token_string``.
    limit
        Maximum number of texts.
    chat
        The texts are conversations: lists of messages, in the field ``messages`` if none is named. The chat template of the
        tokenizer renders them, and the variable ``role`` has the role of each token; see `layerscope.texts.conversations`.
    generate, temperature
        Before its states are recorded, continue each text by at most this number of tokens: the most likely ones, or sampled with
        a temperature above 0. The variable ``generated`` marks them. Conversations end with the generation prompt.
    max_length
        Maximum sequence length in tokens; by default the context length of the model. Longer texts are truncated, with a
        warning.
    backend
        ``"hooks"``, ``"nnsight"`` or ``"transformer-lens"``.
    schedule
        Layer schedule that runs in place of the blocks, such as ``"skip:12"``; see `layerscope.scheduled`. The states are
        then those before the first stage and after each stage.
    dtype, device, device_map, stack, attn
        Passed to `layerscope.load_model` when `model` is not loaded yet.
    store_dtype
        Storage type: ``"same"`` as computed, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    layers
        States to record, such as ``"0,5-10"``; all states by default. ``attn`` and ``mlp`` are recorded of the blocks that
        these states leave: block l-1 for state l.
    tokens
        Tokens of each sequence to record: ``"all"``, ``"first"``, ``"last"``, ``"sample:K"`` (K random ones), ``"generated"``,
        ``"role:NAME"``, or ``"mean"``, one row with the mean of its states (position -1, token id -1).
    batch_tokens
        Number of tokens in a batch, padding included; ``"auto"`` for as many as fit the memory of an accelerator. A batch that
        does not fit is run in parts, with a warning.
    streams
        Streams to record: any of ``"resid"``, the residual stream, ``"attn"`` and ``"mlp"``, what attention and MLP of each block
        add to it; see `layerscope.models.sublayers`.
    final_norm
        Also record the output of the final norm.
    spans
        Also store the character span of each token, which is required to compare models with different tokenizers.
    compile
        Compile the blocks first, which takes up to minutes; the states differ in rounding. A failure is a warning.
    resume, overwrite, seed
        Continue an unfinished file; replace an existing file; the random seed of the token sample.

    Returns
    -------
    CaptureReport

    Raises
    ------
    UsageError
        The options are invalid, or `output` exists and neither `resume` nor `overwrite` is given.
    ModelError, TextsError, ScheduleError
        The model or the texts cannot be read, or the schedule is not valid for the model.
    CaptureError
        The capture cannot run: the disk is too small, another process writes the file, a state is NaN or Inf, or the file to
        resume has other settings.

    Examples
    --------
    >>> import layerscope as ls
    >>> ls.capture("nobody/nothing.gguf", ["one text"], "out.h5")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: nobody/nothing.gguf: there is no such file, nor a folder nobody
    """
    options = CaptureOptions.from_arguments(locals())
    if output is None:
        _check_sinks(sinks, resume, overwrite, spans)
        return capture_to_sinks(prepare(model, texts, options), sinks)
    path = _check_output(Path(output), (model, texts if images is None else images), resume, overwrite)
    if resume and options.batch_tokens == AUTO and path.exists():  # a resumed capture runs the same batches
        earlier = read_header(path).settings.get("batch_tokens")
        options = replace(options, batch_tokens=earlier) if isinstance(earlier, int) else options
    if resume and (report := _report_if_complete(path, model, texts, options)):
        return report
    return _capture_to_file(prepare(model, texts, options), path, sinks, resume)


def _check_sinks(sinks: Sequence[Sink], resume: bool, overwrite: bool, spans: bool) -> None:
    if not sinks:
        raise UsageError("a capture needs an output file or sinks: give one")
    _check_exclusive(resume, overwrite)
    if spans:
        raise UsageError("--spans stores the character span of each token in the capture file: give an --output")


def _check_output(path: Path, inputs: tuple[object, ...], resume: bool, overwrite: bool) -> Path:
    _check_exclusive(resume, overwrite)
    if writable(path, *inputs).exists() and not (resume or overwrite):
        raise UsageError(
            f"{path} exists already: give --resume to continue it, --overwrite to replace it, or another --output"
        )
    return path


def _check_exclusive(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: continue the file, or replace it")


def _report_if_complete(path: Path, model: Any, texts: Any, options: CaptureOptions) -> CaptureReport | None:
    """Return the report on a complete file with these options, without loading the model; None for any other file."""
    if not (path.exists() and isinstance(model, str | os.PathLike) and isinstance(texts, str | os.PathLike)):
        return None
    header = read_header(path)
    if not header.complete:
        return None
    identity, source = identify(model), options.open_source(texts)

    def matches(weights: str) -> bool:
        settings = options.settings(identity.name, weights, options.dtype or "float32", source.name)
        return first_difference(header.settings, settings) is None

    # Compare the hash of the weights only if all else matches: it reads all their files.
    if not (matches(str(header.settings.get("weights"))) and matches(identity.fingerprint())):
        return None
    CaptureTarget(path).clear()
    return CaptureReport.of_complete(header)


def capture_to_sinks(request: CaptureRequest, sinks: Sequence[Sink]) -> CaptureReport:
    """Run a capture without a file; see `capture`."""
    with SequenceIndex() as index:
        stream = index_texts(index, request)
        started = time.perf_counter()
        run_batches(request, index, sinks)
        return _report(None, index, stream, request, started)


def _capture_to_file(request: CaptureRequest, path: Path, sinks: Sequence[Sink], resume: bool) -> CaptureReport:
    with CaptureTarget(path) as target:
        resuming = resume and path.exists()
        if resuming:
            header = read_header(path)
            refuse_other_settings(path, header.settings, request.settings)
            if header.complete:
                return CaptureReport.of_complete(header)
            if sinks and header.committed_rows:
                raise UsageError(
                    f"{path}: the sinks would miss {header.committed_rows:,} rows captured earlier; analyze the file instead"
                )
        with SequenceIndex(target.folder, **request.of_index) as index:
            stream = index_texts(index, request)
            started = time.perf_counter()
            with _open_writer(request, target, index, stream, resuming) as writer:
                run_batches(
                    request,
                    index,
                    [_CommittedFile(writer), *sinks],
                    store_dtype=writer.layout.store_dtype,
                    done_rows=writer.committed_rows,
                )
                writer.finish()
            return _report(path, index, stream, request, started)


def _open_writer(
    request: CaptureRequest, target: CaptureTarget, index: SequenceIndex, stream: SequenceStream, resuming: bool
) -> CaptureWriter:
    if resuming:
        return CaptureWriter.resume(target, index)
    layout = request.layout
    check_space(target.path, layout.forecast_bytes(index.rows, index.sequences))
    return CaptureWriter.create(
        target, layout, index, request.attributes(stream), request.settings, request.token_strings
    )


def _report(
    path: Path | None, index: SequenceIndex, stream: SequenceStream, request: CaptureRequest, started: float
) -> CaptureReport:
    return CaptureReport(
        path,
        index.sequences,
        index.tokens,
        index.rows,
        truncated=stream.truncated,
        skipped=stream.skipped + request.source.skipped,
        seconds=time.perf_counter() - started,
        attributes=request.attributes(stream),
    )


class _CommittedFile:
    """Sink that updates a file, which it commits every few seconds."""

    keeps_rows = False

    def __init__(self, writer: CaptureWriter) -> None:
        self._writer = writer
        self._committed = time.monotonic()

    def update(self, rows: StateRows) -> None:
        self._writer.update(rows)
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._writer.commit()
            self._committed = time.monotonic()
