"""Generate text under a layer schedule, with the caller's options only: checkpoint defaults do not apply."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int64
from transformers import GenerationConfig, LogitsProcessorList

from layerscope.arguments import checked
from layerscope.errors import UsageError, at_least
from layerscope.execution.cache_use import cache_use
from layerscope.execution.sampling import sampling_options
from layerscope.execution.scheduled import scheduled
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.models.eval_mode import eval_mode
from layerscope.models.loader_errors import silence_loaders
from layerscope.models.loading import ModelLike, as_model
from layerscope.models.logits import refuse_not_finite, require_vocabulary_head, undefined_rows
from layerscope.models.model import Model
from layerscope.schedules.spec import ScheduleLike, as_spec
from layerscope.texts.special_tokens import encode_open
from layerscope.texts.text import Text, check_encodable
from layerscope.texts.tokenizer_errors import translate_tokenizer_errors

__all__ = ["continue_batch", "continue_tokens", "generate"]


@checked
def generate(
    model: ModelLike,
    prompt: str,
    schedule: ScheduleLike = "identity",
    *,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    stacked: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    stack: Stack | None = None,
) -> str:
    """Generate text with a model whose blocks run under a layer schedule.

    Only the options given here apply. Generation defaults of the checkpoint (repetition penalty, beams, lengths, suppressed
    tokens, top-k, …) are ignored, except its end tokens (``eos_token_id`` of ``generation_config``). The prompt is encoded
    like any text, without the end token that some tokenizers append.

    Parameters
    ----------
    model
        A decoder: what `layerscope.capture` takes.
    prompt
        The text to continue.
    schedule
        A SPEC, or stages of block numbers.
    max_new_tokens
        Maximum number of new tokens; generation can end earlier.
    temperature
        With 0, take the most likely token at each step; above 0, sample from the whole vocabulary.
    seed
        Random seed for sampling.
    stacked
        Run the blocks of a parallel stage as one batched call; see `layerscope.scheduled`.
    dtype, device, device_map, stack
        Passed to `layerscope.load_model` when `model` is not loaded yet.

    Returns
    -------
    str
        The continuation, without the prompt and the end token. Other special tokens are included.

    Raises
    ------
    UsageError
        The prompt is empty, or a number is out of range.
    ModelError
        The model is an encoder, has no vocabulary head, or has no embedding for a token of the prompt.
    ScheduleError
        The schedule is not valid for a model of this depth.
    CaptureError
        The logits are NaN or Inf.
    """
    at_least(1, max_new_tokens=max_new_tokens)
    at_least(0, seed=seed)
    spec = as_spec(schedule)
    options = sampling_options(temperature)
    check_encodable(Text("prompt", prompt), "the prompt")
    model = as_model(model, dtype=dtype, device=device, device_map=device_map, stack=stack)
    model.require_tokenizer()
    require_vocabulary_head(model)
    tokens = _encode_prompt(model, prompt, max_new_tokens)
    with scheduled(model, spec, stacked=stacked):
        new = continue_tokens(model, tokens, max_new_tokens, options, seed, name="the prompt", schedule=spec)
    if new[-1] in _end_ids(model):
        del new[-1]
    with translate_tokenizer_errors("the generated tokens", f"check the tokenizer of {model.name}"):
        text: str = model.tokenizer.decode(new)
    return text


def continue_tokens(
    model: Model,
    tokens: list[int],
    max_new_tokens: int,
    options: dict[str, Any],
    seed: int,
    *,
    name: str,
    schedule: object,
) -> list[int]:
    """Return the tokens with which a model continues a text, the end token included; inside `scheduled`, under that schedule.

    Parameters
    ----------
    model
        A decoder with a vocabulary head.
    tokens
        The token ids of the text.
    max_new_tokens
        Maximum number of new tokens.
    options
        From `layerscope.execution.sampling.sampling_options`.
    seed
        Random seed for sampling.
    name, schedule
        Name of the text and schedule, for messages.

    Raises
    ------
    ModelError, CaptureError
        See `continue_batch`.
    """
    ids = torch.tensor([tokens], device=model.device)
    limits = options | {"max_length": len(tokens) + max_new_tokens}
    with torch.random.fork_rng(devices=_devices(model)):
        torch.manual_seed(seed)
        sequence = continue_batch(model, ids, torch.ones_like(ids), limits, name=name, schedule=schedule)
    new: list[int] = sequence[0, len(tokens) :].tolist()
    return new


def _encode_prompt(model: Model, prompt: str, max_new_tokens: int) -> list[int]:
    tokens = encode_open(model.tokenizer, prompt)
    if not tokens:
        raise UsageError("the prompt is empty: give at least one token to continue")
    if model.context is not None and len(tokens) + max_new_tokens > model.context:
        raise UsageError(
            f"{len(tokens)} prompt tokens and {max_new_tokens} new tokens exceed the context of {model.context}: "
            "shorten the prompt, or lower --max-new-tokens"
        )
    return tokens


def continue_batch(
    model: Model,
    input_ids: Int64[torch.Tensor, "sequence position"],
    attention_mask: Int64[torch.Tensor, "sequence position"],
    options: dict[str, Any],
    *,
    name: str,
    schedule: object,
) -> Int64[torch.Tensor, "sequence longer"]:
    """Continue a batch of sequences, padded on the left; inside `scheduled`, under that schedule.

    The result equals recomputing all tokens at each step. No cache is used where a cache would change the result, in models
    that compute longer texts differently (see `layerscope.models.length_dependence`) or compute otherwise with a cache (see
    `layerscope.execution.cache_use`).

    Parameters
    ----------
    model
        A decoder with a vocabulary head.
    input_ids, attention_mask
        The sequences. They must have one length where states depend on the batch.
    options
        Options of ``transformers``' ``generate``, ``max_length`` among them. Missing options have the defaults of the
        library, not of the checkpoint.
    name, schedule
        Name of the input and schedule, for messages.

    Returns
    -------
    Tensor
        The sequences and their continuations.

    Raises
    ------
    ModelError
        The model has no embedding for a token id.
    CaptureError
        The logits are NaN or Inf.
    """
    model.refuse_unknown_ids(input_ids)
    settings = GenerationConfig(eos_token_id=_end_ids(model) or None, pad_token_id=model.pad_id)
    other_options = settings.update(**options)
    shortest = int(attention_mask.sum(dim=1).min())
    cacheable = model.length_dependence.steady(shortest, settings.max_length)
    settings.use_cache = settings.use_cache is not False and cacheable and cache_use(model).steps
    start = input_ids.shape[1]

    def check(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if undefined_rows(logits).any():
            where = f"{name}, after {ids.shape[1] - start} new tokens"
            refuse_not_finite(model, where, "the score of the next token", schedule)
        return logits

    module: Any = model.module
    with silence_loaders(), eval_mode(module), _without_defaults(module), torch.no_grad():
        sequences: torch.Tensor = module.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([check]),
            **other_options,
        )
    return sequences


def _end_ids(model: Model) -> list[int]:
    """Return the end tokens of the checkpoint: one, several or none."""
    ids = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _devices(model: Model) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []


@contextmanager
def _without_defaults(module: torch.nn.Module) -> Iterator[None]:
    """Remove the generation defaults of a checkpoint, which the library uses for missing options."""
    # An adapter has a second copy in the model inside it.
    owners = [attributes for part in module.modules() if "generation_config" in (attributes := vars(part))]
    before = [attributes["generation_config"] for attributes in owners]
    for attributes in owners:
        attributes["generation_config"] = GenerationConfig()
    try:
        yield
    finally:
        for attributes, defaults in zip(owners, before, strict=True):
            attributes["generation_config"] = defaults
