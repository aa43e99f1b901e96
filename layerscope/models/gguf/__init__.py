"""GGUF files: converted once to an ordinary model folder, or refused by the name of what has no place in one."""

from layerscope.models.gguf.conversion import content_hash, converted

__all__ = ["content_hash", "converted"]
