"""Find the two sub-layers of each block, and prove that the block adds their contributions to the residual stream.

This module does not depend on families or names of modules. Each block runs again on the arguments of one forward pass, with its
parts watched. Two parts are sought whose outputs, each times a constant, are the contributions::

    after = before + attn + mlp                  most models: sequential and parallel residuals
    after = norm(norm'(before + attn) + mlp)     blocks that end with a norm (BERT)

Three facts are checked in every block. The law holds on the text. It holds on a changed stream. Exactly one part, the attention,
reads other tokens: if all tokens but the last one are changed, and the output of the other part is fixed, its output for the last
token changes.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import torch

from layerscope.errors import ModelError
from layerscope.models.block_parts import BlockReplay, Part, PartCall, record_blocks
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.model import Model

__all__ = ["Law", "Sublayer", "Sublayers", "find_sublayers"]

Law = Literal["sum", "post_norm"]
"""``after = before + attn + mlp``, or ``after = norm(norm'(before + attn) + mlp)``."""

_TOKENS = 7
_ROUNDING = 8  # units in the last place of the numbers added
_INDEPENDENT = 1e-6  # two parts whose cosine differs from ±1 by less are one; a smaller constant is none
_MOVED = 32  # units in the last place of a state, above which it counts as changed


@dataclass(frozen=True)
class Sublayer:
    """The contribution of one sub-layer of a block to the residual stream: the output of a part, times a constant."""

    part: Part
    scale: float = 1.0

    def added(self, returned: torch.Tensor) -> torch.Tensor:
        """Return the contribution, from the tensor that the part returned; a copy, because some blocks add to that in place."""
        return returned.clone() if self.scale == 1.0 else returned * self.scale


@dataclass(frozen=True)
class Sublayers:
    """The two sub-layers of one block.

    Attributes
    ----------
    attn, mlp
        The part that mixes tokens, and the part that acts on each token alone.
    law
        How they give the block's output.
    """

    attn: Sublayer
    mlp: Sublayer
    law: Law

    @property
    def exchanged(self) -> "Sublayers":
        """The same, with the other sub-layer first."""
        return Sublayers(self.mlp, self.attn, self.law)


@dataclass(frozen=True)
class _Run:
    """One run of a block, with its parts watched."""

    before: torch.Tensor
    after: torch.Tensor
    calls: list[PartCall]

    @classmethod
    def of(cls, replay: BlockReplay, before: torch.Tensor, held: Mapping[Part, torch.Tensor] | None = None) -> "_Run":
        after, calls = replay.watch(before, held)
        return cls(before.to(after.device), after, calls)  # a block may be on another device than the one before it

    @cached_property
    def returned(self) -> dict[Part, torch.Tensor]:
        return {call.part: call.returned for call in self.calls}

    @property
    def distinct(self) -> list[Part]:
        """The parts that return different tensors: of equal ones, the outermost with weights, and of those the last."""
        kept: list[PartCall] = []
        last_first = self.calls[::-1]
        for call in sorted(last_first, key=lambda call: (not call.has_weights, call.part.path.count("."))):
            if not any(torch.equal(call.returned, other.returned) for other in kept):
                kept.append(call)
        return [call.part for call in kept]


_Fit = Callable[[_Run, Part, Part], Sublayers | None]


def find_sublayers(model: Model) -> list[Sublayers]:
    """Find the sub-layers of each block.

    Raises
    ------
    ModelError
        The blocks have no two sub-layers for which the law holds, or both or neither read other tokens.

    Examples
    --------
    >>> import transformers
    >>> from layerscope.models.loading import wrap_module
    >>> size = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 31}
    >>> model = wrap_module(transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**size)), name="tiny")
    >>> [(block.attn.part.path, block.mlp.part.path, block.law) for block in find_sublayers(model)]
    [('self_attn', 'mlp', 'sum'), ('self_attn', 'mlp', 'sum')]
    """
    with eval_mode(model.module), no_grad():
        replays = record_blocks(model, model.trial_inputs(1, _TOKENS))
        runs = [_Run.of(replay, replay.before) for replay in replays]
        if not all(run.after.isfinite().all() for run in runs):
            raise _refusal(model, "its states on a short text are not finite")
        found = _solve(model, runs)
        for block, (replay, sublayers) in enumerate(zip(replays, found, strict=True)):
            if not _holds(sublayers, _Run.of(replay, _others_changed(replay.before))):
                raise _refusal(model, f"{_named(sublayers)} account for block {block} on one text only")
        return _tell_apart(model, replays, runs, found)


def _solve(model: Model, runs: list[_Run]) -> list[Sublayers]:
    """Return for each block two parts that account for it: of all pairs, the one that does so in most blocks."""
    for fit in (_sum, _post_norm, _scaled_sum):
        votes = Counter(pair for run in runs for pair in combinations(run.distinct, 2) if fit(run, *pair))
        found = [next((fitted for pair, _ in votes.most_common() if (fitted := fit(run, *pair))), None) for run in runs]
        if all(found):
            return [sublayers for sublayers in found if sublayers is not None]
    parts = ", ".join(sorted({part.path for part in runs[0].distinct if "." not in part.path})) or "no part"
    raise _refusal(model, f"no two parts of a block ({parts}) add up to what the block adds to the stream")


def _sum(run: _Run, one: Part, other: Part) -> Sublayers | None:
    return _if_holds(Sublayers(Sublayer(one), Sublayer(other), "sum"), run)


def _post_norm(run: _Run, one: Part, other: Part) -> Sublayers | None:
    first = Sublayers(Sublayer(one), Sublayer(other), "post_norm")
    return _if_holds(first, run) or _if_holds(first.exchanged, run)


def _scaled_sum(run: _Run, one: Part, other: Part) -> Sublayers | None:
    """Find the constants by least squares; there are none for parts that are proportional, or of which one adds nothing."""
    if one not in run.returned or other not in run.returned:
        return None
    columns = torch.stack([run.returned[part].double().flatten() for part in (one, other)], dim=1).cpu()
    update = (run.after.double() - run.before.double()).flatten().cpu()
    gram = columns.T @ columns
    if gram.det() <= _INDEPENDENT * gram.diagonal().prod():
        return None
    scales = torch.linalg.solve(gram, columns.T @ update).tolist()
    if min(map(abs, scales)) < _INDEPENDENT:
        return None
    return _if_holds(Sublayers(Sublayer(one, scales[0]), Sublayer(other, scales[1]), "sum"), run)


def _if_holds(sublayers: Sublayers, run: _Run) -> Sublayers | None:
    return sublayers if _holds(sublayers, run) else None


def _holds(sublayers: Sublayers, run: _Run) -> bool:
    """Return whether the law holds for a run of the block, up to rounding."""
    if not {sublayers.attn.part, sublayers.mlp.part} <= set(run.returned):
        return False
    attn, mlp = (one.added(run.returned[one.part]) for one in (sublayers.attn, sublayers.mlp))
    if sublayers.law == "sum":
        return _adds_up(run.after, run.before, attn, mlp)
    inner = [call.returned for call in run.calls for read in call.read if _adds_up(read, run.before, attn)]
    last = [read for call in run.calls if torch.equal(call.returned, run.after) for read in call.read]
    return any(_adds_up(read, stream, mlp) for read in last for stream in inner)


def _adds_up(total: torch.Tensor, *terms: torch.Tensor) -> bool:
    """Return whether a tensor is the sum of others, up to rounding of these in their type."""
    exact = [term.double() for term in terms]
    size = torch.stack([term.abs() for term in exact]).sum(0)
    epsilon = max(torch.finfo(tensor.dtype).eps for tensor in (total, *terms))
    return bool(((total.double() - torch.stack(exact).sum(0)).abs() <= _ROUNDING * epsilon * size).all())


def _tell_apart(model: Model, replays: list[BlockReplay], runs: list[_Run], found: list[Sublayers]) -> list[Sublayers]:
    """Exchange the two sub-layers where the second one mixes tokens; the blocks of one pair of parts are judged together."""
    mixing = {pair: [False, False] for pair in map(_parts, found)}
    for replay, run, sublayers in zip(replays, runs, found, strict=True):
        one, other = _parts(sublayers)
        for which, (part, held) in enumerate([(one, other), (other, one)]):
            changed = _Run.of(replay, _others_changed(run.before), {held: run.returned[held]})
            mixing[one, other][which] |= _moved(run.returned[part][:, -1], changed.returned[part][:, -1])
    for (one, other), mixes in mixing.items():
        if sum(mixes) != 1:
            how_many = "both" if all(mixes) else "neither"
            raise _refusal(model, f"of {one.path} and {other.path}, {how_many} read other tokens")
    ordered = [pair if mixing[_parts(pair)][0] else pair.exchanged for pair in found]
    if any(pair.law == "post_norm" and pair not in found for pair in ordered):
        raise _refusal(model, "the part that reads other tokens is added after the other one")
    return ordered


def _parts(sublayers: Sublayers) -> tuple[Part, Part]:
    return sublayers.attn.part, sublayers.mlp.part


def _named(sublayers: Sublayers) -> str:
    return f"{sublayers.attn.part.path} and {sublayers.mlp.part.path}"


def _others_changed(stream: torch.Tensor) -> torch.Tensor:
    """Return a stream of which every token but the last is another."""
    return torch.cat([stream[:, :-1].flip(-1), stream[:, -1:]], dim=1)


def _moved(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Return whether a state has changed by more than rounding."""
    change = (after.double() - before.double()).norm()
    return bool(change > _MOVED * torch.finfo(before.dtype).eps * before.double().norm())


def _refusal(model: Model, what: str) -> ModelError:
    return ModelError(
        f"{model.name}: attention and MLP of {model.architecture.family} cannot be separated: {what}.\n"
        "Capture --streams resid, which does not need them."
    )
