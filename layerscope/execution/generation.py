"""Text from a model under a schedule."""

import math
import os

import torch

from layerscope.arguments import checked
from layerscope.errors import ModelError, UsageError, at_least
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.schedules.spec import ScheduleLike, as_spec

__all__ = ["generate"]


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
    """Let a model go on with a text while its blocks run under a schedule.

    Parameters
    ----------
    model
        A decoder, or what `layerscope.load_model` takes.
    prompt
        The text to go on with.
    schedule
        A SPEC, or stages of block numbers.
    max_new_tokens
        At most so many; the model may end before.
    temperature
        0 takes the likeliest token each time; above, tokens are drawn.
    seed
        Of the draw.
    stacked
        Run the blocks of a parallel stage as one batched call; see `layerscope.scheduled`.
    dtype, device
        How to load a model that is given by name.

    Returns
    -------
    str
        What follows the prompt.

    Raises
    ------
    UsageError
        An encoder, an empty prompt, impossible numbers.
    ScheduleError
        A schedule that a model of this depth has not.
    """
    at_least(1, max_new_tokens=max_new_tokens)
    at_least(0, seed=seed)
    spec = as_spec(schedule)
    if not 0 <= temperature < math.inf:
        raise UsageError(f"temperature {temperature}: must be a number of 0 or more")
    model = model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
    if not model.architecture.causal:
        raise ModelError(f"{model.name} is an encoder: only decoders generate")
    ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)
    if not ids.numel():
        raise UsageError("the prompt is empty: give at least one token to go on with")
    if model.context is not None and ids.shape[1] + max_new_tokens > model.context:
        raise UsageError(
            f"{ids.shape[1]} tokens of prompt and {max_new_tokens} new ones are more than the {model.context} the model takes: "
            "shorten the prompt or give a lower --max-new-tokens"
        )
    drawn = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    module = model.module
    with scheduled(model, spec, stacked=stacked), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        found = module.generate(  # type: ignore[operator]  # a method the library mixes in
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            pad_token_id=model.pad_id,
            **drawn,
        )
    text: str = model.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
    return text
