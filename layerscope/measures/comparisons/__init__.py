"""The matrices of measures that need the tokens themselves: something of each layer, made once, then a number for each pair.

`held_tokens` has the tokens and what was made of them, `comparison` says what a comparison is, `all_pairs` fills the matrix.
Those that are more than a kernel for two layers are `dissimilarities`, `neighbours` and `kernel_alignment`.

A comparison is given all its tokens at once. It must not know where they come from: no token rows, no passes, no labels or files.
"""
