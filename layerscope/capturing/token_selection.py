"""Which tokens of a sequence become rows of a capture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from layerscope.errors import CaptureError, UsageError
from layerscope.states import MEAN

__all__ = ["TokenSelection"]

_PLAIN = ("all", "first", "last", "mean", "generated")
_FORMS = "all, first, last, mean, generated, sample:K with K of 1 or more, or role:NAME"


@dataclass(frozen=True)
class TokenSelection:
    """The tokens of a sequence that become rows.

    Attributes
    ----------
    kind
        ``"all"``, ``"first"``, ``"last"``, ``"sample"``, ``"generated"`` or ``"role"``; ``"mean"`` for one row, the mean over the
        tokens.
    size
        Sample size for each sequence, drawn without replacement. A shorter sequence keeps all its tokens.
    role
        The role whose tokens are selected.
    seed
        A sample depends on (seed, sequence index) only, not on batching or resuming.
    """

    kind: str
    size: int = 0
    role: str = ""
    seed: int = 0

    @classmethod
    def parse(cls, spec: str, seed: int, *, chat: bool = False, generate: bool = False) -> "TokenSelection":
        """Read ``--tokens``.

        Raises
        ------
        UsageError
            The text is malformed, the seed is negative, or ``role:NAME`` or ``generated`` is given without ``--chat`` or
            ``--generate``.

        Examples
        --------
        >>> TokenSelection.parse("sample:3", seed=0).positions(10, 0)
        array([5, 6, 9])
        >>> TokenSelection.parse("role:user", seed=0, chat=True).positions(4, 0, roles=["system", "user", "user", "assistant"])
        array([1, 2])
        """
        if seed < 0:
            raise UsageError(f"--seed {seed}: a seed is 0 or more")
        if spec == "generated" and not generate:
            raise UsageError("--tokens generated: give --generate N, or choose other tokens")
        if spec in _PLAIN:
            return cls(spec, seed=seed)
        if match := re.fullmatch(r"sample:([1-9][0-9]*)", spec):
            return cls("sample", int(match[1]), seed=seed)
        if match := re.fullmatch(r"role:(.+)", spec):
            if not chat:
                raise UsageError(f"--tokens {spec}: only conversations have roles: give --chat")
            return cls("role", role=match[1], seed=seed)
        raise UsageError(f"--tokens {spec!r}: choose {_FORMS}")

    def positions(
        self, length: int, sequence: int, *, roles: Sequence[str] | None = None, prompt: int | None = None
    ) -> Int[np.ndarray, " token"]:
        """Return the selected positions of a sequence, ascending; `MEAN` for the mean.

        Parameters
        ----------
        length
            Number of tokens of the sequence.
        sequence
            Number of the sequence.
        roles
            The role of each token.
        prompt
            Number of tokens before the generated ones.
        """
        if self.kind == "mean":
            return np.array([MEAN])
        if self.kind in ("first", "last"):
            return np.array([0 if self.kind == "first" else length - 1])
        if self.kind == "role":
            return np.flatnonzero(np.array(roles) == self.role)
        if self.kind == "generated":
            return np.arange(length if prompt is None else prompt, length)
        if self.kind == "all" or self.size >= length:
            return np.arange(length)
        generator = np.random.default_rng([self.seed, sequence])
        return np.sort(generator.choice(length, self.size, replace=False))

    def refuse_none(self, roles: Sequence[str]) -> None:
        """Refuse a selection that has found no token in any sequence.

        Raises
        ------
        CaptureError
            No token has the role, or nothing was generated.
        """
        if self.kind == "role":
            raise CaptureError(
                f"--tokens role:{self.role}: no token has this role; the conversations have {', '.join(roles)}"
            )
        raise CaptureError(f"--tokens {self.kind}: the texts have no such token: choose other tokens")
