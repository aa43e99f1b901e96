"""What a schedule does to a model's answers: tasks, scores, sweeps, drift and latency."""
