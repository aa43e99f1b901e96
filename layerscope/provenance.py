"""Record the versions, machine, settings and command that made a file, as one JSON attribute.

It contains no time, so two identical runs write identical files.
"""

import json
import os
import platform
import re
import shlex
import sys
from importlib.metadata import version
from typing import Any

from layerscope.version import __version__

__all__ = ["moving_weights", "nested", "provenance"]

_LIBRARIES = ("torch", "transformers", "numpy", "h5py", "transformer-lens", "nnsight", "scikit-learn", "xarray")

_EXACT = r"((adapter )?sha256:[0-9a-f]+|memory:[0-9a-f]+|[0-9a-f]{40}| changed to | \+ )+"
"""Names of weights that cannot mean others later; see `layerscope.models.weight_identity`."""


def provenance(**facts: Any) -> str:
    """Return the JSON text of versions, host facts, the command, and the given facts.

    Examples
    --------
    >>> sorted(json.loads(provenance(seed=0)))
    ['command', 'host', 'seed', 'versions']
    """
    versions = {"layerscope": __version__, "python": platform.python_version()} | {
        name: version(name) for name in _LIBRARIES
    }
    host = {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()}
    # The program by its name alone; the arguments as they were typed.
    command = shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]) if sys.argv[0] else ""
    return json.dumps({"versions": versions, "host": host, "command": command} | facts, sort_keys=True)


def moving_weights(recorded: object, now: object) -> str:
    """Return a message if a file records its weights by a branch or tag of the hub, which may have moved; else an empty string.

    Examples
    --------
    >>> print(moving_weights("main", "e3a1" * 10))
    its weights are recorded as 'main', which may differ from 'e3a1e3a1e3a1e3a1e3a1e3a1e3a1e3a1e3a1e3a1'
    Start again with --overwrite: then the commit is recorded.
    >>> moving_weights("sha256:00ff", "sha256:ff00"), moving_weights("main", "main")
    ('', '')
    """
    if not recorded or recorded == now or re.fullmatch(_EXACT, str(recorded)):
        return ""
    return (
        f"its weights are recorded as {recorded!r}, which may differ from {now!r}\n"
        "Start again with --overwrite: then the commit is recorded."
    )


def nested(text: str) -> object:
    """Parse the provenance of a capture for use within another; return text that is not JSON unchanged.

    Examples
    --------
    >>> nested('{"seed": 0}'), nested("by hand")
    ({'seed': 0}, 'by hand')
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text
