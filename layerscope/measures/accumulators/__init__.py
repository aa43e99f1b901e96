"""What is taken from token rows as they go by, in pieces of any size, in any order: `update`, and `merge` with another's.

- `pair_sums`, `cross_covariance`, `layer_moments`: sums over tokens;
- `peaks`, `massive_tokens`, `last_tokens`, `neighbouring_rows`: tokens that are looked at one by one;
- `row_sample`: the rows held for what no sum gives.

The formula by which parts merge stands here, once for each. An accumulator must not know which measures are made of it, nor
labels or files.
"""
