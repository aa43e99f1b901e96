"""Continue the texts of a capture with the model, before its states are recorded."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from layerscope.capturing.request import CaptureRequest
from layerscope.execution.generation import continue_tokens
from layerscope.execution.sampling import sampling_options
from layerscope.execution.scheduled import scheduled
from layerscope.models.logits import require_vocabulary_head
from layerscope.texts.conversations import ASSISTANT
from layerscope.texts.tokens import TokenizedSequence

__all__ = ["Continuation"]


class Continuation:
    """Adds to each sequence the tokens that the model generates after it.

    The random numbers of a sequence depend on (seed, number of the sequence), so a resumed capture has the same continuations.

    Attributes
    ----------
    unchanged
        Number of sequences so far that are as long as the model takes.
    """

    def __init__(self, request: CaptureRequest) -> None:
        self.unchanged = 0
        self._request = request
        self._sampling = sampling_options(request.options.temperature)

    @classmethod
    @contextmanager
    def of(cls, request: CaptureRequest) -> "Iterator[Continuation | None]":
        """Yield the continuation that the options request, with the model under their schedule; None without one.

        Raises
        ------
        ModelError
            The model is an encoder, or has no vocabulary head.
        """
        if not request.options.generate:
            yield None
            return
        require_vocabulary_head(request.model)
        with scheduled(request.model, request.options.spec):
            yield cls(request)

    def __call__(self, sequence: TokenizedSequence, number: int) -> TokenizedSequence:
        """Return a sequence with its continuation."""
        request, prompt = self._request, sequence.token_ids
        longest = request.max_length
        room = request.options.generate if longest is None else min(request.options.generate, longest - len(prompt))
        if room < 1:
            self.unchanged += 1
            return sequence
        seed = int(np.random.SeedSequence([request.options.seed, number]).generate_state(1)[0])
        new = continue_tokens(
            request.model,
            prompt.tolist(),
            room,
            self._sampling,
            seed,
            name=f"the text {sequence.id!r}",
            schedule=request.options.spec,
        )
        roles = None if sequence.roles is None else (*sequence.roles, *[ASSISTANT] * len(new))
        return sequence._replace(token_ids=np.append(prompt, np.array(new, prompt.dtype)), roles=roles)
