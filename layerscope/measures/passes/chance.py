"""What value chance gives: each token's state paired with that of another token.

The pairing is all that is drawn. A token is paired with one of the same role: the first of its sequence with firsts, the last
with lasts, the others with others. So every measure keeps its own tokens (some leave out the first, some look at the last only),
and what is true of a place in every text, as the huge first state is, does not count as agreement beyond chance. This module
knows tokens and pairings; it knows no formula.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int

from layerscope.measures.kernels.bootstrap import percentiles
from layerscope.measures.passes.held import Held, measured
from layerscope.measures.record import Measure
from layerscope.measures.study import Beside, Study

__all__ = ["by_chance", "draw_pairing", "roles_of"]


def by_chance(
    held: list[Held], measures: list[Measure], study: Study, advance: Callable[[int], None]
) -> Iterator[Beside]:
    """Give each pairwise measure's mean and 95 % interval over random pairings of the tokens.

    Of one capture the second side is the capture itself; a symmetric measure then draws twice from each pairing, layer with
    other layer and the other way round.

    Parameters
    ----------
    held
        The rows of each capture.
    measures
        Pairwise ones.
    study
        Gives the number of pairings and the seed.
    advance
        Is told of each pairing done.
    """
    first, second = held[0], held[-1]
    roles = roles_of(first.sequence_index, np.minimum(first.position, second.position))
    rng = np.random.default_rng([study.seed, 4])
    draws: dict[str, list[np.ndarray]] = {measure.name: [] for measure in measures}
    tokens: dict[str, int] = {}
    for _ in range(study.null):
        found = measured(first, second.paired(draw_pairing(roles, rng)), measures, study)
        for measure in measures:
            values = found[measure.name].value
            draws[measure.name] += [values, values.T] if measure.symmetric and len(held) == 1 else [values]
            tokens[measure.name] = found[measure.name].tokens
        advance(1)
    for measure in measures:
        low, high = percentiles(np.stack(draws[measure.name]))
        yield Beside(
            measure.name,
            {"null": np.mean(draws[measure.name], axis=0), "null_low": low, "null_high": high},
            {
                "estimator": "over random pairings of the tokens, first tokens with first, last with last, others with others",
                "null_permutations": study.null,
                "null_tokens": tokens[measure.name],
            },
        )


def roles_of(
    sequence_index: Int[np.ndarray, " token"], position: Int[np.ndarray, " token"]
) -> Int[np.ndarray, " token"]:
    """Number the roles of tokens: at position 0, the last of its sequence that there is, both, or neither.

    Examples
    --------
    >>> roles_of(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 2, 0, 5, 6]))
    array([1, 0, 2, 3, 0, 2])
    """
    _, slot = np.unique(sequence_index, return_inverse=True)
    furthest = np.zeros(slot.max() + 1, position.dtype)
    np.maximum.at(furthest, slot, position)
    roles: np.ndarray = (position == 0) + 2 * (position == furthest[slot])
    return roles


def draw_pairing(roles: Int[np.ndarray, " token"], rng: np.random.Generator) -> Int[np.ndarray, " token"]:
    """Draw a partner for each token among those of its role, all pairings alike likely, itself included.

    Examples
    --------
    >>> roles = np.array([1, 0, 0, 2, 1, 0, 2])
    >>> partner = draw_pairing(roles, np.random.default_rng(0))
    >>> bool((roles[partner] == roles).all()), np.sort(partner).tolist()
    (True, [0, 1, 2, 3, 4, 5, 6])
    """
    partner = np.empty(len(roles), np.int64)
    for role in np.unique(roles):
        those = np.flatnonzero(roles == role)
        partner[those] = rng.permutation(those)
    return partner
