"""Load models and tokenizers, find their parts with the architecture table, and check all of it at load."""
