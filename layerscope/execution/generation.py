"""Generate text under a schedule, by the caller's options alone."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int64
from transformers import GenerationConfig, LogitsProcessorList

from layerscope.arguments import checked
from layerscope.errors import UsageError, at_least
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode
from layerscope.models.loader_errors import silence_loaders
from layerscope.models.loading import load_model
from layerscope.models.logits import refuse_not_finite, require_vocabulary_head, undefined_rows
from layerscope.models.model import Model
from layerscope.schedules.spec import ScheduleLike, as_spec
from layerscope.texts.special_tokens import encode_open
from layerscope.texts.text import Text, check_encodable
from layerscope.texts.tokenizer_errors import translate_tokenizer_errors

__all__ = ["continue_batch", "generate"]

_COLDEST = 1e-4  # logits divided by less leave float32


@checked
def generate(
    model: Model | str | os.PathLike[str],
    prompt: str,
    schedule: ScheduleLike = "identity",
    *,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    stacked: bool = False,
    dtype: str = "float32",
    device: str = "cpu",
) -> str:
    """Continue a text with a model whose blocks run under a schedule.

    The options say everything: defaults that come with a checkpoint (repetition penalty, beams, lengths, suppressed tokens,
    top-k, …) are left out. Only the tokens that end a text are taken from it (``eos_token_id`` of its ``generation_config``,
    one or several). The prompt is encoded as any text, except that an end token which the tokenizer appends is dropped.

    Parameters
    ----------
    model
        A decoder, or what `layerscope.load_model` takes.
    prompt
        The text to continue.
    schedule
        A SPEC, or stages of block numbers.
    max_new_tokens
        Maximum number of new tokens; the model may end before.
    temperature
        0 takes the likeliest token each time; above, tokens are drawn from the whole vocabulary.
    seed
        Random seed for sampling.
    stacked
        Run the blocks of a parallel stage as one batched call; see `layerscope.scheduled`.
    dtype, device
        How to load a model that is given by name.

    Returns
    -------
    str
        What follows the prompt, without the token that ended it. Other special tokens are shown as they are.

    Raises
    ------
    UsageError
        An empty prompt, impossible numbers.
    ModelError
        An encoder, a model without a vocabulary head, or a prompt with a token that the model has no row for.
    ScheduleError
        The schedule is not valid for a model of this depth.
    CaptureError
        Logits that are not finite.
    """
    at_least(1, max_new_tokens=max_new_tokens)
    at_least(0, seed=seed)
    spec = as_spec(schedule)
    if not 0 <= temperature < math.inf:
        raise UsageError(f"temperature {temperature}: must be a number of 0 or more")
    if 0 < temperature < _COLDEST:
        raise UsageError(f"temperature {temperature}: give at least {_COLDEST}, or 0 for the likeliest token")
    check_encodable(Text("prompt", prompt), "the prompt")
    model = model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
    require_vocabulary_head(model)
    tokens = encode_open(model.tokenizer, prompt)
    if not tokens:
        raise UsageError("the prompt is empty: give at least one token to go on with")
    if model.context is not None and len(tokens) + max_new_tokens > model.context:
        raise UsageError(
            f"{len(tokens)} tokens of prompt and {max_new_tokens} new ones are more than the {model.context} the model takes: "
            "shorten the prompt or give a lower --max-new-tokens"
        )
    ids = torch.tensor([tokens], device=model.device)
    # The library's own default draws from the first 50 tokens only.
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    options = {"max_length": len(tokens) + max_new_tokens} | sampling
    with scheduled(model, spec, stacked=stacked), torch.random.fork_rng(devices=_devices(model)):
        torch.manual_seed(seed)
        found = continue_batch(model, ids, torch.ones_like(ids), options, name="the prompt", schedule=spec)
    new = found[0, len(tokens) :].tolist()
    if new[-1] in _end_ids(model):
        del new[-1]
    with translate_tokenizer_errors("the tokens that were generated", f"see to the tokenizer of {model.name}"):
        text: str = model.tokenizer.decode(new)
    return text


def continue_batch(
    model: Model,
    input_ids: Int64[torch.Tensor, "sequence position"],
    attention_mask: Int64[torch.Tensor, "sequence position"],
    options: dict[str, Any],
    *,
    name: str,
    schedule: object,
) -> Int64[torch.Tensor, "sequence longer"]:
    """Continue a batch of sequences, padded on the left, with the model as it is now: inside `scheduled`, under the schedule.

    The result equals that of running all tokens anew for each new one. A cache would not, where a longer text is computed
    differently (see `layerscope.models.length_dependence`): then none is used.

    Parameters
    ----------
    model
        A decoder with a vocabulary head.
    input_ids, attention_mask
        The sequences. Where their states depend on the batch, sequences of one length.
    options
        Of the library's `generate`, ``max_length`` among them. What they leave open has the library's default, not the
        checkpoint's.
    name, schedule
        What is continued, and under which schedule, for messages.

    Raises
    ------
    ModelError
        An id that the embedding has no row for.
    CaptureError
        Logits that are not finite.
    """
    model.refuse_unknown_ids(input_ids)
    settings = GenerationConfig(eos_token_id=_end_ids(model) or None, pad_token_id=model.pad_id)
    rest = settings.update(**options)
    shortest = int(attention_mask.sum(dim=1).min())
    settings.use_cache = settings.use_cache is not False and model.length_dependence.steady(
        shortest, settings.max_length
    )
    start = input_ids.shape[1]

    def check(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if undefined_rows(logits).any():
            where = f"{name}, after {ids.shape[1] - start} new tokens"
            refuse_not_finite(model, where, "the score of the next token", schedule)
        return logits

    module: Any = model.module
    with silence_loaders(), eval_mode(module), _without_defaults(module), torch.no_grad():
        found: torch.Tensor = module.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([check]),
            **rest,
        )
    return found


def _end_ids(model: Model) -> list[int]:
    """Return the tokens at which the checkpoint ends a text: one, several or none."""
    ids = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _devices(model: Model) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []


@contextmanager
def _without_defaults(module: torch.nn.Module) -> Iterator[None]:
    """Take away the generation defaults of a checkpoint, which the library would put in wherever an option is open."""
    # An adapter holds them in the model within it, too.
    holders = [facts for part in module.modules() if "generation_config" in (facts := vars(part))]
    before = [facts["generation_config"] for facts in holders]
    for facts in holders:
        facts["generation_config"] = GenerationConfig()
    try:
        yield
    finally:
        for facts, defaults in zip(holders, before, strict=True):
            facts["generation_config"] = defaults
