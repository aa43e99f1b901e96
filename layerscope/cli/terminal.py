"""Standard output and standard error of the commands: any character on any terminal, and a reader that leaves early."""

import codecs
import io
import json
import os
import sys

from layerscope.errors import two_lines

__all__ = ["complain", "end_output", "give_up_output", "take_any_character"]

_ESCAPED = "layerscope-escape"


def take_any_character() -> None:
    r"""Write characters that the terminal's encoding does not have as ``\uXXXX``, so that JSON stays JSON."""
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
        It cannot be written: a reader that left (`BrokenPipeError`), a full disk.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter does not complain of it when it ends."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(message: str) -> None:
    """Print an error: two lines at most, and no control characters."""
    print(two_lines(message), file=sys.stderr)
