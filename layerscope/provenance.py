"""What made a file: versions, machine, settings and the command, as one JSON attribute.

No clock is read: two identical runs write identical files.
"""

import json
import os
import platform
import shlex
import sys
from importlib.metadata import version
from typing import Any

from layerscope.version import __version__

__all__ = ["nested", "provenance"]

_LIBRARIES = ("torch", "transformers", "numpy", "h5py", "transformer-lens", "nnsight", "scikit-learn", "xarray")


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


def nested(text: str) -> object:
    """Return the provenance of a capture to stand within another, unless it is a Dataset's own idea of one: that as it is.

    Examples
    --------
    >>> nested('{"seed": 0}'), nested("by hand")
    ({'seed': 0}, 'by hand')
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text
