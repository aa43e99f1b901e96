"""Facts that only further runs show: with other states, in another order, and with a cache."""

from itertools import pairwise

from layerscope.models.discovery.places import means_the_same, same_bits
from layerscope.models.discovery.probe import CHANGED, first_tensor, moved_tokens, trunk_inputs
from layerscope.models.interception import BlockCalls, Stream, intercept_blocks
from layerscope.models.module_check import quantised_part
from layerscope.models.proof.evidence import Evidence
from layerscope.models.proof.ledger import first_handed_over

__all__ = [
    "check_cached",
    "check_deferred",
    "check_independent",
    "check_kept",
    "check_links",
    "check_local",
    "check_recomputed",
]


def check_links(evidence: Evidence) -> None:
    """If the output of every block is replaced, the next block reads the replacement, and all else it is given stays."""
    model, replaced = evidence.model, evidence.replaced
    if len(replaced.calls) != model.depth or not same_bits(
        model.stream.of_call(*replaced.calls[0]), evidence.states[0]
    ):
        evidence.fail("a trunk that runs alone as it does in the model")
    for index, (given, call) in enumerate(zip(replaced.given[:-1], replaced.calls[1:], strict=True), 1):
        if not same_bits(model.stream.of_call(*call), given):
            evidence.fail(
                f"one stream (block {index} does not read the output of block {index - 1} after it is replaced)"
            )
    for index, (recorded, call) in enumerate(zip(evidence.calls, replaced.calls, strict=True)):
        then, now = (model.stream.in_call(*arguments, None) for arguments in (recorded.arguments, call))
        if not means_the_same(now, then):
            seen = first_handed_over(evidence) or f"what block {index} is given depends on earlier blocks"
            evidence.fail(f"blocks that share the stream alone ({seen})")


def check_local(evidence: Evidence) -> None:
    """What follows the last block is local to a token: a change of one token's last state reaches no other token."""
    last, output = evidence.replaced.given[-1], evidence.replaced.output
    if output.shape[:2] != last.shape[:2]:
        evidence.fail("a trunk that returns a vector for each token")
    moved = moved_tokens(*output)
    if moved[:CHANGED].any() or moved[CHANGED + 1 :].any():
        evidence.fail("an end that is local to a token (after the last block, tokens are mixed)")


def check_deferred(evidence: Evidence) -> None:
    """Blocks that run after all of them were called give the model's own output, bit for bit."""
    model = evidence.model
    with intercept_blocks(model, _in_order):
        output = first_tensor(model.module(**trunk_inputs(model.module, evidence.probe.inputs)))
    if not same_bits(output, evidence.probe.output):
        evidence.fail("the model's own output from blocks that run later (deferred, in order)")


def _in_order(calls: BlockCalls) -> Stream:
    stream = calls.stream
    for block in range(calls.depth):
        stream = calls(block, stream)
    return stream


def check_independent(evidence: Evidence) -> None:
    """Called last to first, each block makes of the state before it the state after it, bit for bit."""
    places = evidence.model.stream
    # The recorded calls may hold a cache that the blocks have filled; that of these calls is empty.
    numbered = list(enumerate(zip(evidence.replaced.calls, pairwise(evidence.states), strict=True)))
    for block, (call, (before, after)) in reversed(numbered):
        args, kwargs = places.in_call(*call, before)
        if not same_bits(places.of_output(evidence.model.blocks[block](*args, **kwargs)), after):
            evidence.fail(f"blocks that do not depend on each other (block {block} called alone gives another state)")


def check_cached(evidence: Evidence) -> None:
    """With a cache, too, blocks that run later give the model's own output, bit for bit."""
    if evidence.cached is None:
        return
    with intercept_blocks(evidence.model, _in_order):
        output = first_tensor(evidence.model.module(**evidence.cached.inputs))
    if not same_bits(output, evidence.cached.output):
        evidence.fail("the model's own output with a cache from blocks that run later")


def check_recomputed(evidence: Evidence) -> None:
    """In a quantised model with a cache, the last token has the output that it has in the whole text.

    Scales that follow the whole text make a token see later ones, in all sequences of a batch alike.
    """
    if evidence.cached is None or not quantised_part(evidence.model.module):
        return
    if not evidence.cached.agrees(evidence.probe):
        evidence.fail("the same output for a token whether the tokens before it are in a cache or run with it")


def check_kept(evidence: Evidence) -> None:
    """After a pass with a cache, the modules keep no tensor of it."""
    if evidence.cached is not None and evidence.cached.kept:
        evidence.fail(f"modules that keep nothing of a pass (kept in {', '.join(evidence.cached.kept[:3])})")
