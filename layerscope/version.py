"""The version of LayerScope, written into every file it makes."""

__version__ = "0.1.0"
