"""Passes over the token rows, and the baselines that measure them again.

- `rows` reads the rows of one capture, or of two in step; `pairing` finds the corresponding rows of two captures;
- `engine` passes the rows to the estimators as often as they need; `limits` keeps values in their range;
- `in_memory` keeps rows in memory, so that `permutation_null` (other pairings) and `split_half` (halves of features, halves of
  sequences) can measure recombined states.

These modules must not import formulas or labels.
"""
