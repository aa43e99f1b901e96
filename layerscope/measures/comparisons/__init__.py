"""Comparisons: matrices of measures that need all tokens at once. Each prepares every layer once, then compares pairs of layers.

`token_sample` holds the tokens and what was prepared, `comparison` is the base class, `all_pairs` fills a matrix. Methods that
are more than one kernel for two layers are `dissimilarities`, `neighbours`, `neighbour_kernels`, `distance_kernels` and
`cross_validation`.

A comparison must not import token rows, passes, labels or files.
"""
