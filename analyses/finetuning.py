"""Training options and training loop of `finetune_glue.py` and `finetune_arc.py`.

The loop sees examples only through an `Encode` function; the caller runs it within a schedule's context.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch

from layerscope.errors import LayerScopeError, UsageError, at_least
from layerscope.models.identity import identify
from layerscope.models.loading import DTYPES
from layerscope.models.model import Model
from layerscope.progress import Advance

Encode = Callable[[Sequence[Any]], dict[str, Any]]
"""Turns examples into the arguments of the model, labels included."""


def options_of_training(about: str, *, epochs: int, batch: int, rate: str) -> argparse.ArgumentParser:
    """Return a parser with the options that both scripts share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("model", help="hub id (owner/name, owner/name@revision) or folder")
    parser.add_argument("--limit", type=int, help="number of examples, from the first")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch, help="examples in a step")
    parser.add_argument("--at-once", type=int, help="examples of a step in memory at once (all)")
    parser.add_argument("--rate", type=float, help=f"learning rate ({rate})")
    parser.add_argument("--seed", type=int, default=0, help="random seed of new weights, order and dropout")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--device", default="cpu")
    return parser


def checked(chosen: argparse.Namespace) -> argparse.Namespace:
    """Refuse options out of range."""
    numbers = {name: getattr(chosen, name) for name in ("limit", "epochs", "batch", "at_once")}
    at_least(1, **{name: number for name, number in numbers.items() if number is not None})
    at_least(0, seed=chosen.seed)
    if chosen.rate is not None and not chosen.rate > 0:
        raise UsageError(f"rate {chosen.rate}: must be above 0")
    return chosen


def settings_of(chosen: argparse.Namespace, *others: str) -> dict[str, Any]:
    """Return the settings that determine a result: the weights, and all options except `others`."""
    who, left_out = identify(chosen.model), {"model", "device", "at_once", *others}
    given = {name: value for name, value in vars(chosen).items() if name not in left_out}
    return {"model": who.name, "weights": who.fingerprint(), **given}


def train(model: Model, examples: Sequence[Any], encode: Encode, chosen: argparse.Namespace, advance: Advance) -> None:
    """Train all weights that require gradients: new order each epoch, gradients clipped at 1, rate falling linearly to 0."""
    weights = [weight for weight in model.module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=chosen.rate, weight_decay=0.0)
    drawn = torch.Generator().manual_seed(chosen.seed)
    orders = [torch.randperm(len(examples), generator=drawn) for _ in range(chosen.epochs)]
    steps = [batch for order in orders for batch in order.split(chosen.batch)]
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(steps))
    torch.manual_seed(chosen.seed)  # for dropout
    model.module.train()
    for step, batch in enumerate(steps, 1):
        for part in batch.split(chosen.at_once or chosen.batch):
            loss = model.module(**encode([examples[number] for number in part])).loss
            if not loss.isfinite():
                raise LayerScopeError(f"{model.name}: the loss is {loss.item()} in step {step}: give a lower --rate")
            (loss * len(part) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        falling.step()
        optimizer.zero_grad()
        advance(len(batch))
    model.module.eval()
