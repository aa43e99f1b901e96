"""The front door of capturing: a model, some texts, and a file or accumulators that take their states."""

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from layerscope.arguments import Stream, checked
from layerscope.capturing.driver import run
from layerscope.capturing.report import CaptureReport
from layerscope.capturing.request import CaptureRequest, prepare
from layerscope.capturing.settings import settings_of
from layerscope.errors import TextsError, UsageError
from layerscope.models.identity import identify
from layerscope.models.model import Model
from layerscope.outputs import writable
from layerscope.schedules.spec import ScheduleLike
from layerscope.states import Sink, StateRows
from layerscope.store.finite import check_finite
from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.resume import first_difference, refuse_other_settings
from layerscope.store.space import check_space
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from layerscope.texts.offsets import own_characters
from layerscope.texts.sources import open_texts
from layerscope.texts.tokens import TokenStream, tokenize

__all__ = ["capture", "into_sinks"]

_COMMIT_SECONDS = 2.0
"""How much work a kill may cost; a commit takes milliseconds."""


@checked
def capture(
    model: Model | str | os.PathLike[str],
    texts: str | os.PathLike[str] | Stream[str] = "builtin:passages",
    output: str | os.PathLike[str] | None = None,
    *,
    sinks: Sequence[Sink] = (),
    text_field: str | None = None,
    limit: int | None = None,
    max_length: int | None = None,
    backend: str = "hooks",
    schedule: ScheduleLike = "identity",
    dtype: str | None = None,
    store_dtype: str = "same",
    layers: Annotated[str, 'a string such as "0,5-10"'] | None = None,
    tokens: Annotated[str, '"all", "last" or "sample:K"'] = "all",
    batch_tokens: int = 2048,
    final_norm: bool = False,
    spans: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> CaptureReport:
    """Run a model over texts and keep the states of its layers, in a file, in accumulators, or both.

    State 0 is the residual stream entering the first block, state l the stream leaving block l-1; the last one is before the
    final norm. Rows stand in input order, padding is never stored, and the vocabulary head is never run.

    Parameters
    ----------
    model
        A loaded model, or what `layerscope.load_model` takes.
    texts
        ``"builtin:passages"``, a ``.txt`` or ``.jsonl`` file (also ``.gz``), ``"hf:DATASET/SPLIT"``, or texts themselves.
    output
        The capture file. None keeps no states: the sinks see them go by.
    sinks
        Accumulators with an ``update(rows)`` method, such as `layerscope.measures.streaming.Statistics`. They see rows in
        the order of the batches, not of the texts.
    text_field, limit
        Field of a ``.jsonl`` line that holds the text; how many texts to take.
    max_length
        Longest sequence in tokens; the model's context without it. A longer text is cut, counted and said.
    backend
        ``"hooks"``, ``"nnsight"`` or ``"transformer-lens"``.
    schedule
        What runs in place of the blocks, such as ``"skip:12"``; see `layerscope.execution.scheduled.scheduled`. The states are
        then those before the first stage and after each one.
    dtype, device
        Passed on to `layerscope.load_model` when `model` is not loaded yet.
    store_dtype
        ``"same"`` as computed, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    layers
        States to keep, such as ``"0,5-10"``; all of them without.
    tokens
        ``"all"``, ``"last"``, or ``"sample:K"``: K tokens of each sequence, drawn from (seed, sequence).
    batch_tokens
        Tokens of a batch, padding included.
    final_norm
        Also keep the state after the final norm.
    spans
        Also keep, in the file, which characters of its text each token stands for: what it takes to compare with a model
        of another tokenizer.
    resume, overwrite
        Go on with an unfinished file; replace an existing one.
    seed
        Of the token sample.

    Returns
    -------
    CaptureReport

    Raises
    ------
    UsageError
        Options that make no sense, or an existing output without `resume` or `overwrite`.
    ModelError, TextsError, ScheduleError
        The model or the texts cannot be used, or the model has no such schedule.
    CaptureError
        The capture cannot start or go on: too little disk, another writer, NaN or Inf, other settings than the file's.

    Examples
    --------
    >>> import layerscope as ls, tempfile, transformers
    >>> from layerscope.models.loading import wrap_module
    >>> ls.capture("nobody/nothing.gguf", ["one text"], "out.h5")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: nobody/nothing.gguf: there is no such file, nor a folder nobody
    """
    if output is None and not sinks:
        raise UsageError("a capture needs an output file or sinks: give one")
    _check_output(output, (model, texts), resume, overwrite, spans)
    options: dict[str, Any] = {
        "text_field": text_field,
        "limit": limit,
        "max_length": max_length,
        "backend": backend,
        "schedule": schedule,
        "store_dtype": store_dtype,
        "layers": layers,
        "tokens": tokens,
        "batch_tokens": batch_tokens,
        "final_norm": final_norm,
        "spans": spans,
        "seed": seed,
    }
    if output is not None and resume:
        done = _done_before(Path(output), model, texts, dtype or "float32", options)
        if done is not None:
            CaptureTarget(output).clear()
            return done
    request = prepare(model, texts, dtype=dtype, device=device, **options)
    return into_sinks(request, sinks) if output is None else _into_file(request, Path(output), sinks, resume)


def _done_before(path: Path, model: Any, texts: Any, dtype: str, options: Mapping[str, Any]) -> CaptureReport | None:
    """Find that a file is complete, and the one asked for, before the model is loaded; None leaves it to what comes after."""
    if not (path.exists() and isinstance(model, str | os.PathLike) and isinstance(texts, str | os.PathLike)):
        return None
    header = read_header(path)
    if not header.complete:
        return None
    who, name = identify(model), open_texts(texts, field=options["text_field"], limit=options["limit"]).name

    def differs(weights: str) -> bool:
        return first_difference(header.settings, settings_of(who.name, weights, dtype, name, **options)) is not None

    # The weights last: to tell them, all of their files are read.
    if differs(str(header.settings.get("weights"))) or differs(who.fingerprint()):
        return None
    return CaptureReport.of_complete(header)


def _check_output(
    output: str | os.PathLike[str] | None, inputs: tuple[object, ...], resume: bool, overwrite: bool, spans: bool
) -> None:
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: go on with the file, or replace it")
    if output is None:
        if spans:
            raise UsageError("--spans keeps the characters of each token in the capture file: give an --output")
        return
    path = writable(Path(output), *inputs)
    if path.exists() and not (resume or overwrite):
        raise UsageError(
            f"{path} exists already: give --resume to go on with it, --overwrite to replace it, or another --output"
        )


def _fill(index: SequenceIndex, request: CaptureRequest) -> TokenStream:
    """Tokenize all texts into the index, and say what was cut."""
    model = request.model
    stream = tokenize(
        request.source, model.tokenizer, request.max_length, spans=request.spans, vocabulary_size=model.vocabulary_size
    )
    for sequence in stream:
        kept = request.selection.positions(len(sequence.token_ids), index.sequences)
        spans = None if sequence.spans is None else own_characters(sequence.spans, kept)
        index.add(sequence.id, sequence.token_ids, kept, spans, sequence.text_hash)
    if not index.sequences:
        raise TextsError(f"{request.source.name}: no text gave a token: give texts that are not empty")
    if stream.truncated:
        warnings.warn(
            f"{stream.truncated} texts are longer than {request.max_length} tokens and were truncated", stacklevel=5
        )
    return stream


def _report(
    path: Path | None, index: SequenceIndex, stream: TokenStream, request: CaptureRequest, started: float
) -> CaptureReport:
    skipped = stream.skipped + request.source.skipped
    seconds = time.perf_counter() - started
    return CaptureReport(
        path,
        index.sequences,
        index.tokens,
        index.rows,
        stream.truncated,
        skipped,
        seconds,
        request.attributes(stream),
    )


def into_sinks(request: CaptureRequest, sinks: Sequence[Sink]) -> CaptureReport:
    """Run a capture that keeps no file; see `capture`."""
    names = request.layout.display_names

    def take(rows: StateRows) -> None:
        check_finite(rows, layer_name=names, sequence_id=index.sequence_id)
        for sink in sinks:
            sink.update(rows)

    with SequenceIndex() as index:
        stream = _fill(index, request)
        started = time.perf_counter()
        _run(request, index, done_rows=0, take=take)
        return _report(None, index, stream, request, started)


def _into_file(request: CaptureRequest, path: Path, sinks: Sequence[Sink], resume: bool) -> CaptureReport:
    with CaptureTarget(path) as target:
        going_on = resume and path.exists()
        if going_on:
            header = read_header(path)
            refuse_other_settings(path, header.settings, request.settings)
            if header.complete:
                return CaptureReport.of_complete(header)
            if sinks and header.committed_rows:
                raise UsageError(
                    f"{path}: sinks would miss the {header.committed_rows:,} rows captured before; analyze the file instead"
                )
        with SequenceIndex(target.folder, spans=request.spans) as index:
            stream = _fill(index, request)
            started = time.perf_counter()
            with _opened(request, target, index, stream, going_on) as writer:
                _run(request, index, done_rows=writer.committed_rows, take=_Keeper(writer, sinks))
                writer.finish()
            return _report(path, index, stream, request, started)


def _opened(
    request: CaptureRequest, target: CaptureTarget, index: SequenceIndex, stream: TokenStream, going_on: bool
) -> CaptureWriter:
    if going_on:
        return CaptureWriter.resume(target, index)
    layout = request.layout
    check_space(target.path, layout.forecast_bytes(index.rows, index.sequences))
    return CaptureWriter.create(target, layout, index, request.attributes(stream), request.settings)


def _run(request: CaptureRequest, index: SequenceIndex, done_rows: int, take: Callable[[StateRows], None]) -> None:
    run(
        request.model,
        request.backend,
        request.wanted,
        index,
        batch_tokens=request.batch_tokens,
        done_rows=done_rows,
        take=take,
    )


class _Keeper:
    """Gives rows to the file and the sinks, and commits the file every so often."""

    def __init__(self, writer: CaptureWriter, sinks: Sequence[Sink]) -> None:
        self._writer, self._sinks = writer, sinks
        self._committed = time.monotonic()

    def __call__(self, rows: StateRows) -> None:
        self._writer.update(rows)
        for sink in self._sinks:
            sink.update(rows)
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._writer.commit()
            self._committed = time.monotonic()
