"""Panics of libraries written in Rust: told apart from other errors, and kept off standard error."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["is_panic", "without_panic_text"]


def is_panic(error: BaseException) -> bool:
    """Say whether an error is a panic of a library written in Rust, whose class is no Exception and has no public name."""
    return type(error).__name__ == "PanicException"


@contextmanager
def without_panic_text() -> Iterator[None]:
    """Keep what Rust prints about a panic off standard error: the exception says it.

    Rust writes to the file descriptor. Everything written to it meanwhile is kept and written afterwards, unless a panic
    ends the context.
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
    if hasattr(os, "memfd_create"):  # on Linux; it takes no room on a disk
        return os.fdopen(os.memfd_create("stderr"), "r+b")
    return tempfile.TemporaryFile()
