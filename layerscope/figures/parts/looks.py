"""Look of each variant, task and part of a block: one colour and one marker, the same in every figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

from layerscope.figures.parts.style import FIRST, GREY, SECOND

__all__ = ["LOOKS", "PARTS", "Look", "in_order", "task_looks", "variant_look"]


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of points."""

    name: str
    colour: str
    marker: str


LOOKS: dict[str, Look] = {
    "identity": Look("full model", "#000000", "D"),
    "skip": Look("skip", "#0072B2", "o"),
    "middle_repeat": Look("middle repeat", "#D55E00", "s"),
    "reverse": Look("reverse", "#009E73", "^"),
    "random": Look("random order", "#CC79A7", "d"),
    "parallel": Look("parallel", "#E69F00", "v"),
    "looped_parallel": Look("looped parallel", "#56B4E9", "P"),
    "drop": Look("drop one", "#000000", "X"),
    "swap": Look("swap neighbours", "#882255", "p"),
    "repeat": Look("repeat range", "#8C6D31", "<"),
    "repeat_each": Look("repeat each", "#7B4173", ">"),
    "explicit": Look("written out", GREY, "h"),
}
"""Looks of the variants by name. The six range variants have six of the eight Okabe-Ito colours."""

PARTS: dict[str, Look] = {
    "attn": Look("attention", FIRST, "o"),
    "mlp": Look("MLP", SECOND, "s"),
    "update": Look("whole block", GREY, "D"),
}
"""Looks of the parts of a block by their names in measures."""

# Tol's muted set, darkest first: distinct without colour vision, and distinct from the colours of the variants.
_MUTED = ("#332288", "#CC6677", "#117733", "#882255", "#44AA99", "#999933", "#AA4499", "#88CCEE")
_TASK_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
_OTHER_MARKERS = ("*", "H", "8")  # those of no variant


def variant_look(name: str) -> Look:
    """Return the look of a variant; a variant without an entry in `LOOKS` has a default look, the same in every figure.

    Examples
    --------
    >>> variant_look("skip").colour, variant_look("my_variant").name
    ('#0072B2', 'my variant')
    """
    if name in LOOKS:
        return LOOKS[name]
    number = crc32(name.encode())
    colour = _MUTED[number % len(_MUTED)]
    return Look(name.replace("_", " "), colour, _OTHER_MARKERS[number // len(_MUTED) % len(_OTHER_MARKERS)])


def in_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names of variants, those with an entry in `LOOKS` first and in its order.

    Examples
    --------
    >>> in_order(["my_variant", "reverse", "skip", "reverse"])
    ['skip', 'reverse', 'my_variant']
    """
    known = list(LOOKS)
    return sorted(dict.fromkeys(names), key=lambda name: known.index(name) if name in LOOKS else len(known))


def task_looks(tasks: Sequence[str]) -> dict[str, Look]:
    """Return the looks of the tasks of a sweep, named without the prefix before the colon where names stay distinct.

    Examples
    --------
    >>> [look.name for look in task_looks(["builtin:cloze", "lm-eval:piqa"]).values()]
    ['cloze', 'piqa']
    """
    short = [task.split(":", 1)[-1] for task in tasks]
    names = short if len(set(short)) == len(short) else list(tasks)
    return {
        task: Look(
            name.replace("_", " "),
            _MUTED[index % len(_MUTED)],
            _TASK_MARKERS[index % len(_TASK_MARKERS)],
        )
        for index, (task, name) in enumerate(zip(tasks, names, strict=True))
    }
