"""The spectral entropy of one sequence of tokens."""

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["sequence_entropy"]


def sequence_entropy(states: Float[torch.Tensor, "token layer feature"]) -> Float[np.ndarray, " layer"]:
    r"""Compute the matrix-based entropy of order 1 of each layer's tokens, in nats; NaN for a layer of zeros.

    It is $-\sum_iq_i\ln q_i$ with $q_i=\lambda_i/\sum_j\lambda_j$, $\lambda$ the eigenvalues of the tokens' Gram matrix $XX'$.
    The states are not centred.

    Examples
    --------
    >>> sequence_entropy(torch.tensor([[[3.0, 0.0]], [[0.0, 3.0]]])).round(4)
    array([0.6931])
    """
    exact = states.double().transpose(0, 1)
    tokens, features = exact.shape[1:]
    gram = torch.bmm(exact, exact.mT) if tokens <= features else torch.bmm(exact.mT, exact)
    values = torch.linalg.eigvalsh(gram).clamp(min=0)
    shares = values / values.sum(1, keepdim=True)  # 0 / 0 is NaN where a layer is zero
    entropy: np.ndarray = -torch.special.xlogy(shares, shares).sum(1).numpy()
    return entropy
