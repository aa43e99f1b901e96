"""GGUF files: converted once to an ordinary model folder, or refused by the name of what has no place in one."""

from layerscope.models.gguf.conversion import convert, file_hash

__all__ = ["convert", "file_hash"]
