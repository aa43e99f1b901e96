"""Prove on the loaded weights what was found of a model. What cannot be proved is refused."""
