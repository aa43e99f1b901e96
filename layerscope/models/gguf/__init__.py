"""Convert GGUF files to ordinary model folders, once. A file with an unknown key or tensor is refused by its name."""

from layerscope.models.gguf.conversion import convert, file_hash

__all__ = ["convert", "file_hash"]
