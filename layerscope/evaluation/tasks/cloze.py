"""``builtin:cloze``: predict the last word of a short passage that makes it plain.

The built-in passages are written for this task. Each ends, without a full stop, in a word that the text as a whole implies and
its last sentence does not.
"""

from layerscope.evaluation.tasks.task import Example
from layerscope.texts.sources import open_texts

__all__ = ["cloze"]


def cloze() -> tuple[Example, ...]:
    """Return one example per passage: the text without its last word, and that word.

    Examples
    --------
    >>> first = cloze()[0]
    >>> first.id, first.context[-20:], first.choices
    ('p001', 'had been nothing but', (' ice',))
    """
    parts = ((passage.id, *passage.text.rpartition(" ")) for passage in open_texts("builtin:passages"))
    return tuple(Example(name, context, (space + word,)) for name, context, space, word in parts)
