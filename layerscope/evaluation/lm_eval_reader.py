"""lm-eval's own Hugging Face model, used for what it does with texts: requests into tokens, and generation.

What lm-eval would run for a log-likelihood is noted down instead, so that contexts, continuations, windows and prefix tokens are
exactly its own. Knows lm-eval's requests; knows no task.
"""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from layerscope.capturing.keeping import evaluating
from layerscope.errors import TextsError
from layerscope.evaluation.lm_eval_quiet import silent
from layerscope.models.model import Model

__all__ = ["Pair", "Reader"]

Tokens = tuple[int, ...]
Pair = tuple[Tokens, Tokens]
"""A context, and what follows it."""

_WRITTEN_TOGETHER = 16  # texts of one batch of `generate`


class _Writer:
    """As much of a model as lm-eval touches before it runs it: the module itself would be changed (ties, training flags)."""

    def __init__(self, model: Model) -> None:
        self._module: Any = model.module
        self.config = model.config
        self.device = model.device

    def generate(self, **arguments: Any) -> torch.Tensor:
        """Generate with the model as it is now: inside `scheduled`, under the schedule."""
        written: torch.Tensor = self._module.generate(**arguments)
        return written


class Reader(HFLM):  # type: ignore[misc]  # lm-eval comes without types
    """Reads requests as lm-eval's ``HFLM`` does, and writes as it does.

    Parameters
    ----------
    model
        Whose tokenizer and limits hold.
    name
        Of the task, for messages.
    together
        Texts generated in one batch.

    Attributes
    ----------
    shortened
        Contexts that lost their beginning so far.

    Raises
    ------
    TextsError
        A tokenizer without a token to begin a text with.
    """

    def __init__(self, model: Model, name: str, together: int = _WRITTEN_TOGETHER) -> None:
        if model.tokenizer.bos_token_id is None and model.tokenizer.eos_token_id is None:
            raise TextsError(
                f"{name}: the tokenizer of {model.name} has no token that begins or ends a text, and lm-eval needs one"
            )
        tokenizer = copy.deepcopy(model.tokenizer)  # lm-eval gives it a padding token and side
        with silent():
            super().__init__(_Writer(model), backend="causal", tokenizer=tokenizer, batch_size=together)
        limits = (self.max_length, model.context)
        self._max_length = min(limit for limit in limits if limit is not None)
        self._layerscope = model
        self._name = name
        self._noted: list[Pair] = []
        self.shortened = 0

    def pairs(self, requests: Sequence[Instance]) -> list[list[Pair]]:
        """Return what lm-eval would run for each request: one pair, or the windows of a text."""
        found = []
        with silent():
            for request in requests:
                self._noted = []
                getattr(self, request.request_type)([request], disable_tqdm=True)
                found.append([self._fitted(*pair, request) for pair in self._noted])
        return found

    def _loglikelihood_tokens(self, requests: Sequence[Any], **options: Any) -> list[tuple[float, bool]]:
        self._noted += [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        return [(0.0, False)] * len(requests)

    def _fitted(self, context: Tokens, continuation: Tokens, request: Instance) -> Pair:
        where = f"{self._name} {request.doc_id}"
        if not continuation:
            raise TextsError(f"{where}: the continuation {request.args[-1]!r} gives no token after its context")
        if len(continuation) > self.max_length:
            raise TextsError(
                f"{where}: a continuation alone is longer than the {self.max_length} tokens {self._layerscope.name} takes"
            )
        room = self.max_length + 1 - len(continuation)
        self.shortened += len(context) > room
        return context[-room:], continuation

    def refuse_too_long(self, requests: Sequence[Instance]) -> None:
        """Raise a TextsError if the task lets the model write more than it takes."""
        for request in requests:
            most = normalize_gen_kwargs(request.args[1], self.max_gen_toks)["max_gen_toks"]
            if most >= self.max_length:
                raise TextsError(
                    f"{self._name}: an answer may be {most} tokens long, and {self._layerscope.name} takes {self.max_length} "
                    "with the question: set a smaller max_gen_toks in a definition of your own (--include-path)"
                )

    def write(self, requests: Sequence[Instance], written: Callable[[int], None]) -> list[str]:
        """Generate an answer to each request, those of like length together; call `written` with how many are done."""
        texts = [""] * len(requests)

        def key(number: int) -> tuple[str, int, str]:
            text, terms = requests[number].args[:2]
            return json.dumps(terms, sort_keys=True, default=str), -len(self.tok_encode(text)), text

        keys = [key(number) for number in range(len(requests))]
        order = sorted(range(len(requests)), key=keys.__getitem__)
        with silent(printing=True), evaluating(self._layerscope.module):
            while order:
                batch = [number for number in order[: self.batch_size] if keys[number][0] == keys[order[0]][0]]
                order = order[len(batch) :]
                answers = self.generate_until([requests[number] for number in batch], disable_tqdm=True)
                for number, answer in zip(batch, answers, strict=True):
                    texts[number] = answer
                written(len(batch))
        return texts
