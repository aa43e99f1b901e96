"""Detect panics of libraries written in Rust, and keep their output off standard error."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["is_panic", "without_panic_text"]


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of a library written in Rust; its class has no public name and is not an Exception."""
    return type(error).__name__ == "PanicException"


@contextmanager
def without_panic_text() -> Iterator[None]:
    """Suppress what Rust prints about a panic: the exception has the same text.

    Rust writes to the file descriptor. Its output is collected, and written when the context ends unless it ends with a panic.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with _scratch_file() as kept:
        os.dup2(kept.fileno(), 2)
        panicked = False
        try:
            yield
        except BaseException as error:
            panicked = is_panic(error)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            if not panicked:
                kept.seek(0)
                os.write(2, kept.read())


def _scratch_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):  # on Linux, in memory
        return os.fdopen(os.memfd_create("stderr"), "r+b")
    return tempfile.TemporaryFile()
