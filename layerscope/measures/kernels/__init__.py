"""Functions on plain arrays: what is computed of the states of one layer or of two, and of sums over sequences.

- `spectra`, `uniformity`: of one cloud of tokens;
- `canonical`, `features`, `clouds`: of two, by their directions, their single features, or as wholes;
- `gram`, `distances`: products and distances between tokens, and the criterion of all pairs of layers made of them;
- `bootstrap`: intervals over sequences;
- `centring`, `undefined`: what all of them lean on.

A kernel is given arrays and gives arrays or numbers. It must not know token rows, layers' names, measures, labels or files: it
imports nothing of LayerScope but errors and other kernels.
"""
