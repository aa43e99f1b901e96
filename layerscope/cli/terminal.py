"""Standard output and standard error of the commands: characters that a terminal lacks, and pipes that close early."""

import codecs
import io
import json
import os
import sys

from layerscope.errors import two_lines

__all__ = ["complain", "end_output", "give_up_output", "take_any_character"]

_ESCAPED = "layerscope-escape"


def take_any_character() -> None:
    r"""Write characters that the terminal's encoding lacks as ``\uXXXX``, which is valid in JSON."""
    codecs.register_error(_ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def end_output() -> None:
    """Flush standard output.

    Raises
    ------
    OSError
        The output cannot be written: the pipe is closed (`BrokenPipeError`), or the disk is full.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up_output() -> None:
    """Discard the remaining output, so that the interpreter prints no error at exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(message: str) -> None:
    """Print an error message: at most two lines, without control characters."""
    print(two_lines(message), file=sys.stderr)
