"""Benchmark files of one's own, read for lm-eval: the `custom_dataset` of the definitions in this folder.

A definition names its files, a split each, relative to the folder in `LAYERSCOPE_DATA`. Nothing is
fetched and nothing is copied. Knows files; knows no task.
"""

import gzip
import json
import os
from pathlib import Path

from datasets import Dataset

_WHERE = "LAYERSCOPE_DATA"


def read(files: dict[str, str], **_: object) -> dict[str, Dataset]:
    """Read the .jsonl file of each split, gzipped or not; what else lm-eval passes on, as the version, is not needed."""
    if _WHERE not in os.environ:
        raise FileNotFoundError(f"set {_WHERE} to the folder that holds {', '.join(files.values())}")
    folder = Path(os.environ[_WHERE])
    return {split: Dataset.from_list(_rows(folder / name)) for split, name in files.items()}


def _rows(path: Path) -> list[dict[str, object]]:
    packed = path.with_name(path.name + ".gz")
    text = gzip.decompress(packed.read_bytes()) if packed.is_file() else path.read_bytes()
    # Split at line feeds only: other line ends of Unicode stand inside texts.
    return [json.loads(line) for line in text.decode("utf-8").split("\n") if line.strip()]
