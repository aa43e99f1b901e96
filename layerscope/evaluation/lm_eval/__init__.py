"""Tasks of lm-eval: found, loaded, tokenized for a model, and graded by lm-eval itself."""
