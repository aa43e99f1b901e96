"""The model families that were tried on tiny random models, and what works with each. Data only.

No code of LayerScope asks for a family here: every model is found and proved when it is loaded, so a family that is not in the
table may work too. ``python -m tests.families.census`` measures the table again.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["SupportedFamily", "supported_families"]


@dataclass(frozen=True)
class SupportedFamily:
    """What works with one family: "yes", or the reason.

    Attributes
    ----------
    family
        ``model_type`` of transformers; ``:encoder`` or ``:decoder`` for one stack of an encoder-decoder.
    kind
        Encoder or decoder; empty for a family that is refused.
    hooks
        Capture with the hooks backend: the states equal those that hooks hear.
    schedules
        Schedules: the output equals that of the blocks run by hand.
    generation
        Of decoders: "cached" where generation uses the cache and equals recomputation, "without a cache" where it recomputes.
    nnsight, transformer_lens
        Capture with the other backends.
    """

    family: str
    kind: str
    hooks: str
    schedules: str = ""
    generation: str = ""
    nnsight: str = ""
    transformer_lens: str = ""

    @property
    def backends(self) -> dict[str, str]:
        """What works with each backend, by the name of the backend."""
        return {"hooks": self.hooks, "nnsight": self.nnsight, "transformer-lens": self.transformer_lens}

    @property
    def reason(self) -> str:
        """The reason for the first thing that does not work; a dash if there is none."""
        said = (self.hooks, self.schedules, self.nnsight, self.transformer_lens)
        return next((words for words in said if words not in ("yes", "")), "-")

    @property
    def columns(self) -> dict[str, str]:
        """The entry as a row of a table: yes and no only."""
        short = {name: "yes" if words == "yes" else "no" for name, words in self.backends.items()}
        return {
            "family": self.family,
            "kind": self.kind or "-",
            "hooks": short.pop("hooks"),
            "schedules": "yes" if self.schedules == "yes" else "no",
            "generation": self.generation or "-",
        } | short


def supported_families() -> list[SupportedFamily]:
    """Return the entries of the table.

    Examples
    --------
    >>> {entry.family: entry for entry in supported_families()}["llama"].hooks
    'yes'
    """
    table = files("layerscope.models").joinpath("families.tsv").read_text()
    return [SupportedFamily(**row) for row in csv.DictReader(table.splitlines(), delimiter="\t")]
