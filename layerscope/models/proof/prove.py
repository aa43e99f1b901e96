"""Prove the findings of discovery on the loaded weights of a model.

Recorded pass
    The blocks run once each, in the order of the list, and pass one stream on; every state is a vector of the stated width for
    each token, and there are as many blocks as stated; state 0 of a token depends on no other token; the trunk returns the output
    of the final norm bit for bit, or the last state.
Without running the blocks
    If the output of every block is replaced, the next block reads the replacement, and its other arguments do not change;
    what follows the last block is local to a token.
Running the blocks again
    Deferred, in order, they give the model's own output bit for bit, with and without a cache; called last to first, each gives
    its recorded state; after a pass with a cache no module keeps a tensor of it.

No fact depends on the values of the weights: a block whose output projections are zero passes.
"""

from collections.abc import Callable

import torch

from layerscope.errors import LayerScopeError
from layerscope.models.proof.evidence import Evidence
from layerscope.models.proof.recorded import (
    check_chain,
    check_end,
    check_shapes,
    check_sizes_stated,
    check_start,
    check_unwritten,
)
from layerscope.models.proof.reruns import (
    check_cached,
    check_deferred,
    check_independent,
    check_kept,
    check_links,
    check_local,
    check_recomputed,
)

__all__ = ["FACTS", "prove"]

_SHOWN = 160  # characters of an error of the model

FACTS: tuple[Callable[[Evidence], None], ...] = (
    check_chain,
    check_unwritten,
    check_shapes,
    check_start,
    check_end,
    check_sizes_stated,
    check_links,
    check_local,
    check_deferred,
    check_independent,
    check_kept,
    check_recomputed,
    check_cached,
)


def prove(evidence: Evidence) -> None:
    """Check all facts.

    Raises
    ------
    ModelError
        The first fact that does not hold.
    """
    with torch.no_grad():
        for check in FACTS:
            try:
                check(evidence)
            except LayerScopeError:
                raise
            except Exception as error:  # the code of any model may fail when its blocks run otherwise than it expects
                said = " ".join(str(error).split())[:_SHOWN]
                evidence.fail(f"blocks that can be run apart ({check.__name__}: {type(error).__name__}: {said})", error)
