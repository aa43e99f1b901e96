"""Fill the index of a capture: tokenize its texts, continue them, and select the tokens that become rows."""

import warnings

import numpy as np
from jaxtyping import Int

from layerscope.capturing.continuation import Continuation
from layerscope.capturing.feeds import SequenceStream
from layerscope.capturing.request import CaptureRequest
from layerscope.errors import TextsError
from layerscope.store.index import SequenceIndex
from layerscope.texts.offsets import own_characters
from layerscope.texts.tokens import TokenizedSequence

__all__ = ["index_texts"]


def index_texts(index: SequenceIndex, request: CaptureRequest) -> SequenceStream:
    """Put all sequences into the index, continue them if requested, and warn of texts that are not as given.

    Raises
    ------
    TextsError
        A text cannot be read or tokenized, or there is none with a token.
    CaptureError
        No token is selected.
    ModelError
        The texts shall be continued by a model that cannot.
    """
    options, stream = request.options, request.feed.stream()
    roles: dict[str, None] = {}
    with Continuation.of(request) as continuation:
        for given in stream:
            sequence = given if continuation is None else continuation(given, index.sequences)
            prompt = None if continuation is None else len(given.token_ids)
            length, number = len(sequence.token_ids), index.sequences
            positions = options.selection.positions(length, number, roles=sequence.roles, prompt=prompt)
            roles |= dict.fromkeys(sequence.roles or ())
            _add(index, sequence, positions, prompt)
    if not index.sequences:
        raise TextsError(f"{request.source.name}: no text has a token: give texts that are not empty")
    if not index.rows:
        options.selection.refuse_none(list(roles))
    _warn(request, stream, 0 if continuation is None else continuation.unchanged)
    return stream


def _add(
    index: SequenceIndex, sequence: TokenizedSequence, positions: Int[np.ndarray, " token"], prompt: int | None
) -> None:
    spans = None if sequence.spans is None else own_characters(sequence.spans, positions)
    index.add(
        sequence.id,
        sequence.token_ids,
        positions,
        spans,
        sequence.text_hash,
        sequence.metadata,
        sequence.roles,
        prompt,
    )


def _warn(request: CaptureRequest, stream: SequenceStream, unchanged: int) -> None:
    """Warn of texts that were truncated, not continued, or began with a token that the tokenizer adds."""
    notes = {
        f"texts are longer than {request.max_length} tokens and were truncated": stream.truncated,
        f"texts have {request.max_length} tokens, as many as fit, and were not continued": unchanged,
        "texts begin with the token that the tokenizer adds; it is there once": stream.doubled,
    }
    for note, count in notes.items():
        if count:
            warnings.warn(f"{count} {note}", stacklevel=6)  # the caller of the public function
