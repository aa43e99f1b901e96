"""How a script of this folder ends. Knows errors only."""

import sys
from collections.abc import Callable
from pathlib import Path

from layerscope.errors import LayerScopeError


def ended(main: Callable[[], None]) -> None:
    """Run a script; an error that a user can mend is a line or two and the exit code of the command line."""
    try:
        main()
    except LayerScopeError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
