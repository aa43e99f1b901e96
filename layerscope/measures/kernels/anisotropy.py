"""The mean cosine between the tokens of one layer."""

import torch
from jaxtyping import Float

__all__ = ["anisotropy"]


def anisotropy(total: Float[torch.Tensor, "*layer feature"], count: Float[torch.Tensor, "*layer"]) -> torch.Tensor:
    r"""Compute the mean cosine of two different tokens, $(|\sum_t u_t|^2-n)/(n(n-1))$ with $u_t=x_t/|x_t|$.

    Parameters
    ----------
    total
        Sum of the unit vectors.
    count
        Number of tokens; the result is NaN for fewer than two.

    Examples
    --------
    >>> float(anisotropy(torch.tensor([1.0, 2.0]).double(), torch.tensor(3.0).double()))  # two equal, one orthogonal
    0.3333333333333333
    """
    mean: torch.Tensor = (total.square().sum(-1) - count) / (count * (count - 1)).where(count > 1, torch.nan)
    return mean
