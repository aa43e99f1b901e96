"""Accumulators: sums and samples of token rows, in chunks of any size and in any order (`update`, `merge`).

- `pair_sums`, `cross_covariance`, `layer_moments`, `unit_sums`: sums over tokens;
- `peaks`, `massive_tokens`, `last_tokens`, `neighbouring_rows`, `equal_layers`: selected tokens and their values;
- `row_sample`, `sequence_sample`: rows in memory, for measures that sums cannot give.

Each module has the formula that merges its parts. An accumulator must not import measures, labels or files.
"""
