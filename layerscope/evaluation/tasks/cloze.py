"""``builtin:cloze``: the last word of a short passage, which the passage makes plain.

The built-in passages are written for this: they end, without a full stop, in a word that the whole of the text leads to and
that its last sentence alone does not give away.
"""

from layerscope.evaluation.tasks.task import Example
from layerscope.texts.sources import open_texts

__all__ = ["cloze"]


def cloze() -> tuple[Example, ...]:
    """Return an example a passage: all of it but its last word, and that word.

    Examples
    --------
    >>> first = cloze()[0]
    >>> first.id, first.context[-20:], first.choices
    ('p001', 'had been nothing but', (' ice',))
    """
    parted = ((passage.id, *passage.text.rpartition(" ")) for passage in open_texts("builtin:passages"))
    return tuple(Example(name, context, (space + word,)) for name, context, space, word in parted)
