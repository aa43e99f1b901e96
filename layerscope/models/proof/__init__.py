"""Prove the findings of discovery on the loaded weights, or refuse the model."""
