"""The states of a capture: which are selected, and their names."""

import re

from layerscope.errors import CaptureError, UsageError
from layerscope.schedules.grammar import print_stage
from layerscope.schedules.schedule import Schedule

__all__ = ["block_numbers", "layer_names", "parse_layers"]


def parse_layers(spec: str | None, depth: int, schedule: Schedule | None = None) -> tuple[int, ...]:
    """Read ``--layers``: state numbers and ranges, such as ``"0,5-10"``; None selects all states.

    A model of T blocks has states 0 … T; under a schedule of S stages, 0 … S.

    Raises
    ------
    UsageError
        The text is malformed.
    CaptureError
        The model or the schedule has no such state.

    Examples
    --------
    >>> parse_layers("0,2-4", depth=6)
    (0, 2, 3, 4)
    >>> parse_layers(None, depth=2)
    (0, 1, 2)
    """
    last = depth if schedule is None else len(schedule)
    if spec is None:
        return tuple(range(last + 1))
    layers: set[int] = set()
    for part in spec.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, until = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > until:
            raise UsageError(
                f"--layers {spec!r}: {part.strip()!r} is not a state number or a rising range; write for example 0,5-10"
            )
        layers.update(range(first, until + 1))
    if max(layers) > last:
        owner = f"model of {depth} blocks" if schedule is None else f"schedule of {last} stages"
        raise CaptureError(f"--layers {spec}: there is no state {max(layers)}; a {owner} has states 0 to {last}")
    return tuple(sorted(layers))


def block_numbers(layers: tuple[int, ...]) -> tuple[int, ...]:
    """Return the blocks whose outputs are the given states: block l-1 for state l.

    Examples
    --------
    >>> block_numbers((0, 1, 5))
    (0, 4)
    """
    return tuple(layer - 1 for layer in layers if layer)


def layer_names(layers: tuple[int, ...], schedule: Schedule | None = None) -> list[str]:
    """Return the names of states in a capture file: the block, or under a schedule the stage, that outputs the state.

    Examples
    --------
    >>> layer_names((0, 1, 5))
    ['embedding', 'block.0', 'block.4']
    >>> layer_names((0, 1, 2), Schedule([(7,), (2, 3)]))
    ['embedding', '7', '(2|3)']
    """

    def name(layer: int) -> str:
        return f"block.{layer}" if schedule is None else print_stage(schedule[layer])

    return ["embedding" if layer == 0 else name(layer - 1) for layer in layers]
