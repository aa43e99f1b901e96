"""Which states and which tokens of each sequence are kept. Plain integers; no model, no torch."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from layerscope.errors import CaptureError, UsageError
from layerscope.schedules.grammar import print_stage
from layerscope.schedules.schedule import Schedule

__all__ = ["TokenSelection", "layer_names", "parse_layers"]


def parse_layers(spec: str | None, depth: int, schedule: Schedule | None = None) -> tuple[int, ...]:
    """Read ``--layers``: state numbers and ranges, such as ``"0,5-10"``; None means all of them.

    A model of T blocks has the states 0 … T; under a schedule of S stages, 0 … S.

    Raises
    ------
    UsageError
        The text is malformed.
    CaptureError
        There is no such state.

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
    chosen: set[int] = set()
    for part in spec.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, until = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > until:
            raise UsageError(
                f"--layers {spec!r}: {part.strip()!r} is no state number or rising range; write for instance 0,5-10"
            )
        chosen.update(range(first, until + 1))
    if max(chosen) > last:
        whose = f"model of {depth} blocks" if schedule is None else f"schedule of {last} stages"
        raise CaptureError(f"--layers {spec}: there is no state {max(chosen)}; a {whose} has states 0 to {last}")
    return tuple(sorted(chosen))


def layer_names(layers: tuple[int, ...], schedule: Schedule | None = None) -> list[str]:
    """Name states as the capture file does: after the block, or under a schedule the stage, that gives them.

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


@dataclass(frozen=True)
class TokenSelection:
    """Which tokens of a sequence become rows: all, the last, or a seeded sample.

    Attributes
    ----------
    kind
        ``"all"``, ``"last"`` or ``"sample"``.
    size
        For a sample, how many tokens of each sequence, drawn without replacement; a shorter sequence gives all it has.
    seed
        A sample is drawn from (seed, sequence index), so it does not depend on batching or resuming.
    """

    kind: str
    size: int = 0
    seed: int = 0

    @classmethod
    def parse(cls, spec: str, seed: int) -> "TokenSelection":
        """Read ``--tokens``: ``all``, ``last`` or ``sample:K``.

        Raises
        ------
        UsageError
            The text is malformed, or the seed negative.

        Examples
        --------
        >>> TokenSelection.parse("sample:3", seed=0).positions(10, sequence=0)
        array([5, 6, 9])
        """
        if seed < 0:
            raise UsageError(f"--seed {seed}: a seed is 0 or more")
        if spec in ("all", "last"):
            return cls(spec, seed=seed)
        match = re.fullmatch(r"sample:([1-9]\d*)", spec)
        if not match:
            raise UsageError(f"--tokens {spec!r}: choose all, last, or sample:K with K of 1 or more")
        return cls("sample", int(match[1]), seed)

    def positions(self, length: int, sequence: int) -> Int[np.ndarray, " token"]:
        """Return the kept positions of a sequence of `length` tokens, ascending."""
        if self.kind == "last":
            return np.array([length - 1])
        if self.kind == "all" or self.size >= length:
            return np.arange(length)
        generator = np.random.default_rng([self.seed, sequence])
        return np.sort(generator.choice(length, self.size, replace=False))

    def __str__(self) -> str:
        return f"sample:{self.size}" if self.kind == "sample" else self.kind
