"""``builtin:commonsense``: which of two endings fits a sentence; everyday knowledge.

The items are twins. The same two endings stand after two sentences, and each is right after one of them. So whatever looks at the
endings alone, at their length, wording or likelihood, is right exactly half of the time. All were written for LayerScope.
Pairs of endings of which a small model clearly liked one better, whichever sentence came before, were left out; whether it was
right was no ground.
"""

import json
from importlib import resources

from layerscope.evaluation.tasks.task import Example

__all__ = ["commonsense"]


def commonsense() -> tuple[Example, ...]:
    """Return the two examples of every pair, one after the other.

    Examples
    --------
    >>> for example in commonsense()[4:6]:
    ...     print(example.id, example.context, example.choices, example.gold)
    c03a The farmer got up early to feed the (' cows', ' books') 0
    c03b The librarian stayed late to sort the (' cows', ' books') 1
    """
    lines = (resources.files("layerscope.evaluation.tasks") / "commonsense.jsonl").read_text("utf-8").splitlines()
    return tuple(
        Example(pair["id"] + "ab"[gold], context, tuple(pair["choices"]), gold)
        for pair in map(json.loads, lines)
        for gold, context in enumerate(pair["contexts"])
    )
