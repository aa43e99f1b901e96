"""Find out which block reads what another block writes into a mapping that the model hands to all of them.

Some models share keys and values between blocks in this way (``num_kv_shared_layers``). Such blocks share more than the stream:
a schedule may run one without the other.
"""

from collections import UserDict
from collections.abc import MutableMapping
from typing import Any

from layerscope.models.proof.evidence import Evidence

__all__ = ["first_handed_over"]


class _Ledger(UserDict[Any, Any]):
    """A mapping that notes which block wrote what another one reads."""

    def __init__(self) -> None:
        super().__init__()
        self.block = 0
        self.handed: list[tuple[int, int]] = []
        self._writers: dict[Any, int] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        self._writers[key] = self.block
        super().__setitem__(key, value)

    def __getitem__(self, key: Any) -> Any:
        if self._writers.get(key, self.block) != self.block:
            self.handed.append((self._writers[key], self.block))
        return super().__getitem__(key)


def first_handed_over(evidence: Evidence) -> str | None:
    """Name the first two blocks of which one reads what the other writes; None for blocks that share no mapping.

    The blocks run in order, each on its recorded state.
    """
    calls = evidence.replaced.calls  # no block has run, so nothing is written yet
    for name, value in calls[0][1].items():
        if isinstance(value, MutableMapping) and all(call[1].get(name) is value for call in calls):
            ledger = _Ledger()
            for ledger.block, ((args, kwargs), state) in enumerate(zip(calls, evidence.states, strict=False)):
                args, kwargs = evidence.model.stream.in_call(args, kwargs | {name: ledger}, state)
                evidence.model.blocks[ledger.block](*args, **kwargs)
            if ledger.handed:
                writer, reader = ledger.handed[0]
                return f"block {reader} reads what block {writer} writes into {name}"
    return None
