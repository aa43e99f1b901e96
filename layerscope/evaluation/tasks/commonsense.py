"""``builtin:commonsense``: choose which of two endings fits an everyday sentence.

Examples come in pairs. Both sentences of a pair have the same two endings, and each ending is right once. A model that judges
only the length, wording or likelihood of the endings is therefore right exactly half of the time.
Pairs were dropped if a small model clearly preferred one ending after both sentences, whether or not it was right.
"""

import json
from importlib import resources

from layerscope.evaluation.tasks.task import Example

__all__ = ["commonsense"]


def commonsense() -> tuple[Example, ...]:
    """Return the examples, the two of each pair in sequence.

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
