"""How token rows go by the families: read, paired, as often as needed, and once more put together otherwise.

- `reading`: rows of one capture, or of two in step; `pairing`: which rows of two captures belong together;
- `engine`: the passes;
- `held`: rows kept in memory, so that `chance` (other pairings) and `halves` (of features, of sequences) can let the engine
  measure them again.

Nothing here knows a formula or a label.
"""
