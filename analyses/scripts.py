"""Run the scripts of this folder with the command line's error handling."""

import sys
from collections.abc import Callable
from pathlib import Path

from layerscope.errors import LayerScopeError


def ended(main: Callable[[], None]) -> None:
    """Run a script, and report a `LayerScopeError` as the command line does: a short message and an exit code."""
    try:
        main()
    except LayerScopeError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).stem}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
