"""Comparisons: matrices of measures that need all tokens at once. Each prepares every layer once, then compares pairs of layers.

`token_sample` has the tokens and the prepared layers, `comparison` is the base class, `all_pairs` fills a matrix. Measures that
need more than one kernel for two layers are in `dissimilarities`, `neighbours`, `neighbour_kernels`, `distance_kernels` and
`cross_validation`. Formulas are in `layerscope.measures.kernels`.

A comparison must not import token rows, passes, labels or files.
"""
