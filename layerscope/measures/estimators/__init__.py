"""Estimators: accumulators that compute the measures which share their sums.

- `products`: cosines, norms and largest values (`cosines` reduces its sums, `massive_report` reports massive activations);
- `means`: variance, and cosines without the layers' means;
- `debiased_cka`: CKA;
- `covariance`: biased CKA, Procrustes, spectra;
- `anisotropy`, `intrinsic_dimension`, `curvature`, `whole_sequences`: properties of one layer;
- `sampled`: pairs of layers by ranks, neighbours, distances, singular vectors.

`estimator` is the base class: rows come in any order and chunking, and parts merge. Its table `kernels` is the only way from
the name of a measure to its formula. `half_samples` draws replicates where no sums give them. An estimator must not import
another estimator, sources of rows, labels or files.
"""
