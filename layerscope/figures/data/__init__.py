"""Arrays to draw, computed from a result file's dataset. Nothing here imports matplotlib."""
