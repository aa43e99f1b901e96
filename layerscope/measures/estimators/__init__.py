"""The estimators, by what they share: a family is an accumulator that computes some measures which need the same sums.

- `products`: cosines, norms and peaks; its formulas stand in `cosines`, and `massive_report` is made of what it has taken;
- `moments`: variance, and cosines without the layers' means;
- `alignment`: CKA;
- `covariance`: biased CKA, Procrustes, spectra;
- `basis_of`, `neighbourhoods`, `trajectories`: how the states of one layer lie to each other;
- `sampled`: pairs of layers by ranks, neighbours, distances, singular vectors.

`family` says what all of them are: each takes token rows in any order and chunking, merges with others of its kind, and at the
end gives arrays; `half_samples` makes intervals where no sums do. A family knows rows, sums and records. It must not know
another family, nor where rows come from, nor labels or files.
"""
