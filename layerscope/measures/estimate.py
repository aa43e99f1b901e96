"""The result of an estimator: the values of a measure, and how they were computed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from layerscope.measures.kernels.bootstrap import Resampling

__all__ = ["Baseline", "Details", "Estimate", "describe_sample"]

Details = dict[str, int | float | str]


def describe_sample(size: int, available: int, seed: int, unit: str = "tokens") -> tuple[str, Details]:
    """Return how to name the tokens that an estimate uses, and the details of a sample.

    Parameters
    ----------
    size, available
        Number of tokens used, and of all tokens.
    seed
        Seed of the sample.
    unit
        What is sampled.

    Examples
    --------
    >>> describe_sample(9, 9, seed=0)
    ('all tokens', {})
    >>> describe_sample(5, 9, seed=1)
    ('a seeded sample of tokens', {'sample': 5, 'sample_seed': 1})
    """
    if size == available:
        return f"all {unit}", {}
    return f"a seeded sample of {unit}", {"sample": size, "sample_seed": seed}


@dataclass(frozen=True)
class Estimate:
    """The values of one measure, and how they were computed.

    Attributes
    ----------
    value
        ``[layer, layer_other]`` or ``[layer]``.
    tokens
        Number of tokens it is computed from.
    description
        What was computed, as text; the attribute ``estimator`` of the variable.
    details
        Settings of the estimator: ``batch_size``, ``batches``, ``sample``, ….
    value_other
        Values of a per-layer measure for the second capture, ``[layer_other]``.
    replicates, replicates_other
        ``[replicate, …]`` as the value; None without a bootstrap.
    resampling
        How the replicates were drawn.
    """

    value: Float[np.ndarray, "..."]
    tokens: int
    description: str
    details: Details = field(default_factory=dict)
    value_other: Float[np.ndarray, "..."] | None = None
    replicates: Float[np.ndarray, "..."] | None = None
    replicates_other: Float[np.ndarray, "..."] | None = None
    resampling: Resampling | None = None

    @classmethod
    def of_layers(
        cls,
        values: Sequence[Float[np.ndarray, " _layer"]],
        tokens: int,
        description: str,
        details: Details | None = None,
        *,
        replicates: Sequence[Float[np.ndarray, "replicate _layer"] | None] = (),
        resampling: Resampling | None = None,
    ) -> "Estimate":
        """Return the estimate of a per-layer measure from its values in each capture, and their replicates."""
        return cls(
            values[0],
            tokens,
            description,
            details or {},
            value_other=values[1] if len(values) > 1 else None,
            replicates=replicates[0] if replicates else None,
            replicates_other=replicates[1] if len(replicates) > 1 else None,
            resampling=resampling,
        )


@dataclass(frozen=True)
class Baseline:
    """Reference values of one pairwise measure: its permutation null, noise ceiling or split-half reliability.

    Attributes
    ----------
    measure
        Name of the measure.
    arrays
        ``[layer, layer_other]`` by suffix of the variable: ``null``, ``ceiling``, ….
    attributes
        How they were computed.
    """

    measure: str
    arrays: dict[str, Float[np.ndarray, "layer layer_other"]]
    attributes: Details
