"""Cosine and CKA of all pairs of layers as plain products of torch, on whichever device has the states.

These are the measures without intervals, reports and copies from the host: the most that ``analyze --device`` could gain.
"""

import torch

PIECE = 512  # tokens whose products are in memory at once


def cosine(hidden: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine of all pairs of layers, from states ``[token, layer, feature]``."""
    total = torch.zeros(hidden.shape[1], hidden.shape[1], dtype=torch.float64, device=hidden.device)
    for rows in hidden.split(PIECE):
        unit = torch.nn.functional.normalize(rows, dim=-1)
        total += torch.bmm(unit, unit.mT).double().sum(0)
    return total / len(hidden)


def cka(hidden: torch.Tensor) -> torch.Tensor:
    """Return the debiased CKA of all pairs of layers (HSIC_1 of Song et al. 2012, eq. 5), of all tokens at once."""
    tokens, layers, _ = hidden.shape
    states = (hidden - hidden.mean(0)).transpose(0, 1).contiguous()
    traces = torch.zeros(layers, layers, dtype=torch.float64, device=hidden.device)
    sums = torch.zeros(layers, tokens, dtype=torch.float64, device=hidden.device)
    for start in range(0, tokens, PIECE):
        gram = torch.bmm(states[:, start : start + PIECE], states.mT)
        gram.diagonal(offset=start, dim1=1, dim2=2).zero_()
        sums += gram.double().sum(1)
        flat = gram.flatten(1)
        traces += (flat @ flat.T).double()
    total = sums.sum(1)
    pairs = (tokens - 1) * (tokens - 2)
    criterion = traces + total[:, None] * total / pairs - 2 / (tokens - 2) * (sums @ sums.T)
    own = criterion.diagonal().sqrt()
    return criterion / own[:, None] / own


MEASURES = {"cosine": cosine, "cka": cka}
