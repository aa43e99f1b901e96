"""The table of capture backends: their names, and the model families that each refuses.

A backend's library is imported when the backend is used.
"""

from dataclasses import dataclass
from importlib import import_module

from layerscope.capturing.protocol import Backend
from layerscope.errors import CaptureError, unknown_name
from layerscope.models.devices import is_spread
from layerscope.models.model import Model

__all__ = ["BACKENDS", "BackendRecord", "backend_for"]


@dataclass(frozen=True)
class BackendRecord:
    """One row of the table.

    Attributes
    ----------
    name
        Name on the command line.
    module, cls
        Its class.
    families
        The model families that it supports.
    sublayers_of_stages
        Whether it records what attention and MLP add under a schedule too.
    """

    name: str
    module: str
    cls: str
    refused: frozenset[str] = frozenset()
    sublayers_of_stages: bool = False

    def load(self) -> Backend:
        """Import the backend and return an instance."""
        backend: Backend = getattr(import_module(self.module), self.cls)()
        return backend


BACKENDS: dict[str, BackendRecord] = {
    record.name: record
    for record in (
        BackendRecord("hooks", "layerscope.capturing.hooks", "HooksBackend", sublayers_of_stages=True),
        BackendRecord("nnsight", "layerscope.capturing.nnsight_backend", "NNsightBackend"),
        BackendRecord(
            "transformer-lens",
            "layerscope.capturing.transformer_lens_backend",
            "TransformerLensBackend",
            frozenset({"distilbert", "electra"}),
        ),
    )
}


def backend_for(name: str, model: Model) -> Backend:
    """Return the backend called `name`, if it supports the model's family.

    Raises
    ------
    UsageError
        There is no backend of that name.
    CaptureError
        The backend does not support this family.
    """
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    record = BACKENDS[name]
    if model.architecture.family in record.refused:
        raise CaptureError(
            f"{model.name}: the {name} backend does not support {model.architecture.family} models: use --backend hooks"
        )
    if name != "hooks" and is_spread(model.module):
        raise CaptureError(
            f"{model.name}: the {name} backend does not run a model that is spread over devices: use --backend hooks"
        )
    return record.load()
