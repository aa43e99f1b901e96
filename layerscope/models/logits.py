"""Check that a model predicts next tokens, and that its logits give probabilities.

Tasks, sweeps and generation use these checks before and while they run a model.
"""

from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float

from layerscope.errors import CaptureError, ModelError
from layerscope.models.model import Model

__all__ = ["refuse_not_finite", "require_vocabulary_head", "undefined_rows"]


def require_vocabulary_head(model: Model) -> None:
    """Refuse a model that does not predict the next token.

    Raises
    ------
    ModelError
        The model is an encoder, or has no head over its vocabulary (a classifier, a reward model).

    Examples
    --------
    >>> import transformers
    >>> from layerscope.models.loading import wrap_module
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> require_vocabulary_head(wrap_module(transformers.GPT2Model(config), name="tiny"))
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: tiny: GPT2Model has no head over its vocabulary, so it predicts no next token.
    Load the checkpoint as a causal language model (AutoModelForCausalLM); capture works without.
    """
    if not model.architecture.causal:
        raise ModelError(f"{model.name} is an encoder and predicts no next token: use a decoder")
    module: Any = model.module
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    if head is None:
        _refuse_head(model, "has no head over its vocabulary")
    scores, tokens = _rows(head), _rows(module.get_input_embeddings())
    if scores != tokens:
        _refuse_head(model, f"has a head of {scores} scores for {tokens} tokens")


def _rows(layer: Any) -> int:
    return int(getattr(layer, "out_features", None) or layer.weight.shape[0])


def _refuse_head(model: Model, what: str) -> NoReturn:
    remedy = (
        "Load the checkpoint as a causal language model (AutoModelForCausalLM); capture works without."
        if model.stack is None
        else "The head of the whole model cannot be put behind its decoder alone; capture works without."
    )
    raise ModelError(f"{model.name}: {type(model.module).__name__} {what}, so it predicts no next token.\n{remedy}")


def undefined_rows(logits: Float[torch.Tensor, "*rows vocabulary"]) -> Bool[torch.Tensor, " *rows"]:
    """Return which rows of logits are not probabilities: NaN or +Inf anywhere, or -Inf everywhere.

    A single -Inf is a probability of 0; some models mask the unused rows of their vocabulary with it.

    Examples
    --------
    >>> inf, nan = float("inf"), float("nan")
    >>> undefined_rows(torch.tensor([[0.0, -inf], [0.0, nan], [inf, 0.0], [-inf, -inf]])).tolist()
    [False, True, True, True]
    """
    return ~logits.float().logsumexp(dim=-1).isfinite()


def refuse_not_finite(model: Model, where: str, what: str, schedule: object) -> NoReturn:
    """Raise the error for scores that are not finite.

    Parameters
    ----------
    model
        The model that gave the scores.
    where, what, schedule
        The example or prompt, the name of the scores, and the schedule, for the message.

    Raises
    ------
    CaptureError
        Always.
    """
    half = model.dtype in (torch.float16, torch.bfloat16)
    remedy = "compute in float32 (--dtype float32)" if half else "look at its weights, or run another schedule"
    raise CaptureError(
        f"{where}: {what} is not finite under the schedule {schedule}.\n{model.name} overflows there: {remedy}."
    )
