"""Formulas: functions of plain arrays that return arrays or numbers.

- of one layer: `spectra`, `intrinsic_dimension`, `curvature`, `anisotropy`, `concentricity`, `uniformity`, `sequence_entropy`;
- of two layers: `canonical`, `regression`, `features`, `clouds`, `dissimilarities`;
- of all pairs of layers, from products or distances of tokens: `gram` (its parts are `gram_blocks`, `hsic`, `distances`),
  `neighbours`, `neighbour_hsic`;
- of sums over sequences: `cosines`, `bootstrap`;
- shared: `centering`, `lengths`, `priority`, `rounding`, `undefined`.

A kernel imports only errors and other kernels. It must not import token rows, layers' names, measures, labels or files.
"""
