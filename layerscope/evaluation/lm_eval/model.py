"""Tokenize and answer requests as lm-eval does, through its own Hugging Face model class.

For a log-likelihood, the tokens that lm-eval would run are recorded instead, so that contexts, continuations, windows and prefix
tokens are exactly its own. This module knows lm-eval's requests, not its tasks.
"""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from layerscope.errors import TextsError
from layerscope.evaluation.lm_eval.isolation import silent
from layerscope.execution.generation import continue_batch
from layerscope.models.model import Model
from layerscope.texts.batches import pad_batch
from layerscope.texts.special_tokens import appended_tokens
from layerscope.texts.tokenizer_errors import quote_start, translate_tokenizer_errors

__all__ = ["LmEvalModel", "Pair"]

Tokens = tuple[int, ...]
Pair = tuple[Tokens, Tokens]
"""A context and its continuation."""

_GENERATION_BATCH = 16  # texts


class _Generator:
    """The part of a model that lm-eval uses; lm-eval would change the module itself (ties, training flags).

    Attributes
    ----------
    name, schedule
        Example that is generated, and its schedule, for messages.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.config = model.config
        self.device = model.device
        self.name, self.schedule = "", ""

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> torch.Tensor:
        """Generate with the task's options only; see `layerscope.execution.generation.continue_batch`."""
        return continue_batch(self._model, input_ids, attention_mask, options, name=self.name, schedule=self.schedule)


class LmEvalModel(HFLM):  # type: ignore[misc]  # lm-eval comes without types
    """Tokenizes requests and generates as lm-eval's ``HFLM`` does.

    Parameters
    ----------
    model
        Model with tokenizer.
    name
        Name of the task, for messages.
    together
        Number of texts generated in one batch.

    Attributes
    ----------
    truncated
        Number of contexts truncated so far.

    Raises
    ------
    TextsError
        The tokenizer has no token that begins or ends a text.
    """

    def __init__(self, model: Model, name: str, together: int = _GENERATION_BATCH) -> None:
        if model.tokenizer.bos_token_id is None and model.tokenizer.eos_token_id is None:
            raise TextsError(
                f"{name}: the tokenizer of {model.name} has no token that begins or ends a text, and lm-eval needs one"
            )
        tokenizer = copy.deepcopy(model.tokenizer)  # lm-eval sets its padding token and side
        self._appended = appended_tokens(tokenizer)
        self._generator = generator = _Generator(model)
        with silent():
            super().__init__(generator, backend="causal", tokenizer=tokenizer, batch_size=together)
        limits = (self.max_length, model.context)
        self._max_length = min(limit for limit in limits if limit is not None)
        self._layerscope = model
        self._name = name
        self._recorded: list[Pair] = []
        self.truncated = 0

    def pairs(self, requests: Sequence[Instance]) -> list[list[Pair]]:
        """Return the tokens that lm-eval would run for each request: one pair, or the windows of a text."""
        pairs = []
        with silent():
            for request in requests:
                self._recorded = []
                getattr(self, request.request_type)([request], disable_tqdm=True)
                pairs.append([self._truncate(*pair, request) for pair in self._recorded])
        return pairs

    def _loglikelihood_tokens(self, requests: Sequence[Any], **options: Any) -> list[tuple[float, bool]]:
        self._recorded += [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        return [(0.0, False)] * len(requests)

    def _truncate(self, context: Tokens, continuation: Tokens, request: Instance) -> Pair:
        where = f"{self._name} {request.doc_id}"
        if not continuation:
            raise TextsError(f"{where}: the continuation {request.args[-1]!r} has no token after its context")
        if len(continuation) > self.max_length:
            raise TextsError(
                f"{where}: a continuation is longer than the limit of {self.max_length} tokens of {self._layerscope.name}"
            )
        room = self.max_length + 1 - len(continuation)
        self.truncated += len(context) > room
        return context[-room:], continuation

    def check_lengths(self, requests: Sequence[Instance]) -> None:
        """Raise a TextsError if the task lets the model generate more tokens than it accepts."""
        for request in requests:
            most = normalize_gen_kwargs(request.args[1], self.max_gen_toks)["max_gen_toks"]
            if most >= self.max_length:
                raise TextsError(
                    f"{self._name}: an answer may have {most} tokens, but {self._layerscope.name} accepts {self.max_length} "
                    "with the question: set a smaller max_gen_toks in a definition of your own (--include-path)"
                )

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, left_truncate_len: int | None = None, **options: Any
    ) -> list[int]:
        """Encode a text as lm-eval does, without the tokens that the tokenizer appends, since a continuation follows."""
        with translate_tokenizer_errors(f"a text of {self._name}, {quote_start(string)}"):
            ids: list[int] = super().tok_encode(string, add_special_tokens, **options)
            if self._appended and len(ids) > len(self.tokenizer.encode(string, add_special_tokens=False)):
                ids = ids[: -len(self._appended)]
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def tok_batch_encode(
        self, strings: Sequence[str], padding_side: str = "left", left_truncate_len: int | None = None, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a batch as lm-eval does, with `tok_encode` where the tokenizer appends tokens."""
        if not self._appended:
            with translate_tokenizer_errors(f"one of {len(strings)} texts of {self._name}"):
                batch: tuple[torch.Tensor, torch.Tensor] = super().tok_batch_encode(
                    strings, padding_side, left_truncate_len, **options
                )
            return batch
        rows = [np.array(self.tok_encode(string, left_truncate_len=left_truncate_len)) for string in strings]
        return pad_batch(rows, self.tokenizer.pad_token_id, "left")

    def generate_answers(
        self, requests: Sequence[Instance], generated: Callable[[int], None], schedule: object = "identity"
    ) -> list[str]:
        """Generate an answer to each request, in batches of similar length; call `generated` with the size of each batch.

        The model must already run under the schedule, which only appears in messages.
        """
        texts = [""] * len(requests)
        keys = [self._key(request) for request in requests]
        order = sorted(range(len(requests)), key=keys.__getitem__)
        with silent(printing=True):
            while order:
                first = order[0]
                batch = [number for number in order[: self.batch_size] if keys[number][:2] == keys[first][:2]]
                order = order[len(batch) :]
                examples = ", ".join(str(requests[number].doc_id) for number in batch)
                self._generator.name, self._generator.schedule = f"{self._name} example {examples}", str(schedule)
                answers = self.generate_until([requests[number] for number in batch], disable_tqdm=True)
                for number, answer in zip(batch, answers, strict=True):
                    texts[number] = answer
                generated(len(batch))
        return texts

    def _key(self, request: Instance) -> tuple[str, int, int, str]:
        """Return the sort key of a request; requests that differ in its first two parts never share a batch."""
        text, terms = request.args[:2]
        most = normalize_gen_kwargs(terms, self.max_gen_toks)["max_gen_toks"]
        length = min(len(self.tok_encode(text)), self.max_length - most)
        dependence = self._layerscope.length_dependence
        together = dependence.steady(1, length + most)
        apart = 0 if together and not dependence.alone else length
        return json.dumps(terms, sort_keys=True, default=str), -apart, -length, text
