"""Read the BibTeX entries of measures, models, backends and tasks from ``citations.bib``, by key.

Users of a work name its key, and `layerscope.citing` collects the keys of a file.
"""

import re
from functools import cache
from importlib import resources

__all__ = ["BACKENDS", "BOOTSTRAP", "HARNESS", "LAYERSCOPE", "MODELS", "SCHEDULES", "TASKS", "entries"]

LAYERSCOPE, SCHEDULES, BOOTSTRAP, HARNESS = "layerscope", "sun2024painters", "efron1979bootstrap", "evalharness"

BACKENDS = {"nnsight": "fiottokaufman2025nnsight", "transformer-lens": "nanda2022transformerlens"}
"""The key of a backend's library; hooks are PyTorch's own."""

MODELS = {
    r"pythia": "biderman2023pythia",
    r"smollm-?2": "allal2025smollm2",
    r"gemma-?3": "gemma2025gemma3",
    r"gemma-?2(?!\d|b)": "gemma2024gemma2",
    r"minilm": "wang2020minilm",
    r"llama-?2(?!\d)": "touvron2023llama2",
    r"mistral-7b": "jiang2023mistral",
    r"(?:^|/)gpt-?2(?![a-z])": "radford2019gpt2",
    r"(?:^|/)opt-\d": "zhang2022opt",
    r"(?:^|/)bert-": "devlin2019bert",
}
"""The key of a model by a pattern of its name, ignoring case; the first match counts."""

TASKS = {
    "lambada": "paperno2016lambada",
    "arc_": "clark2018arc",
    "hellaswag": "zellers2019hellaswag",
    "winogrande": "sakaguchi2019winogrande",
    "gsm8k": "cobbe2021gsm8k",
}
"""The key of an lm-eval task by the beginning of its name."""


@cache
def entries() -> dict[str, str]:
    """Return all BibTeX entries by key.

    Examples
    --------
    >>> print(entries()["roy2007effective"])
    @inproceedings{roy2007effective,
      title = {The effective rank: A measure of effective dimensionality},
      author = {Roy, Olivier and Vetterli, Martin},
      booktitle = {15th European Signal Processing Conference},
      year = {2007}
    }
    """
    text = resources.files("layerscope").joinpath("citations.bib").read_text(encoding="utf-8")
    texts = [entry.strip() for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE) if entry.strip()]
    return {re.split("[{,]", entry)[1]: entry for entry in texts}
