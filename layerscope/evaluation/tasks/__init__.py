"""Tasks: the built-in ones, and what a task is made of. Plain data, no tokenizer and no model."""
