"""Read GLUE from the folder `glue` of `LAYERSCOPE_DATA`, and score its tasks.

A task is a folder with two files, `train` and `dev` (or `validation`), each .tsv or .jsonl, gzipped or not. Nothing is fetched
and nothing is copied. Reads files and computes scores, without a model.
"""

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from layerscope.errors import TextsError

WHERE = "LAYERSCOPE_DATA"
STEMS = {"train": ("train",), "dev": ("dev", "validation")}
ENDINGS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz")
CLASSES = {"0": 0, "1": 1, "entailment": 0, "not_entailment": 1}


class Example(NamedTuple):
    """One text or a pair of texts, with its class (a number in STS-B)."""

    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True)
class Task:
    """One task: its columns, its metric of labels and outputs, and the number of outputs of a classifier."""

    texts: tuple[str, ...]
    metric: Callable[[np.ndarray, np.ndarray], float]
    label: str = "label"
    outputs: int = 2
    header: tuple[str, ...] | None = None  # column names, for a file without a header


def accuracy(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the share of right answers."""
    return float(accuracy_score(labels, outputs.argmax(1)))


def f1(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the F1 of class 1, the first of GLUE's two metrics of MRPC; the paper does not name the one it used."""
    return float(f1_score(labels, outputs.argmax(1), zero_division=0.0))


def matthews(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return Matthews' correlation, 0 if all answers are the same."""
    answers = outputs.argmax(1)
    return float(matthews_corrcoef(labels, answers)) if np.ptp(answers) and np.ptp(labels) else 0.0


def correlation(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the mean of Pearson's and Spearman's correlation, 0 if all answers are the same."""
    answers = outputs[:, 0]
    if not (np.ptp(answers) and np.ptp(labels)):
        return 0.0
    return float(np.mean([pearsonr(labels, answers).statistic, spearmanr(labels, answers).statistic]))


_PAIR = ("sentence1", "sentence2")

TASKS = {
    "cola": Task(("sentence",), matthews, header=("source", "label", "mark", "sentence")),
    "mrpc": Task(_PAIR, f1),
    "qnli": Task(("question", "sentence"), accuracy),
    "rte": Task(_PAIR, accuracy),
    "sst2": Task(("sentence",), accuracy),
    "stsb": Task(_PAIR, correlation, label="score", outputs=1),
    "wnli": Task(_PAIR, accuracy),
}
"""GLUE without QQP and MNLI, as in the paper."""


def read_examples(name: str, split: str, limit: int | None = None) -> list[Example]:
    """Read the first examples of a split, `train` or `dev`; raise TextsError if they are missing or malformed."""
    task, path = TASKS[name], _path(name, split)
    try:
        rows = _rows(path, task.header)
    except ValueError as error:
        raise TextsError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    for column in (*task.texts, task.label):
        if column not in rows:
            raise TextsError(f"{path}: no column {column!r}; columns present: {', '.join(map(str, rows.columns))}")
    texts = zip(*(rows[column].astype(str).str.strip() for column in task.texts), strict=True)
    written = rows[task.label].astype(str).str.strip()
    examples = [Example(*both) for both in zip(texts, _labels(path, task, list(written)), strict=True)][:limit]
    if not examples:
        raise TextsError(f"{path} has no examples")
    return examples


def _path(name: str, split: str) -> Path:
    if WHERE not in os.environ:
        raise TextsError(f"{name}: set {WHERE} to a folder with glue/{name}")
    folder = Path(os.environ[WHERE]) / "glue" / name
    for stem in STEMS[split]:
        for ending in ENDINGS:
            if (folder / f"{stem}{ending}").is_file():
                return folder / f"{stem}{ending}"
    sought = " or ".join(str(folder / stem) for stem in STEMS[split])
    raise TextsError(
        f"{name}: there is no {sought} ({', '.join(ENDINGS)}): put it there, or leave {name} out of --tasks"
    )


def _rows(path: Path, header: tuple[str, ...] | None) -> pd.DataFrame:
    if ".jsonl" in path.suffixes:
        return pd.read_json(path, lines=True, dtype=False)
    # Quotes and line ends other than the line feed are ordinary characters here.
    rows = pd.read_csv(
        path,
        sep="\t",
        quoting=csv.QUOTE_NONE,
        lineterminator="\n",
        dtype=str,
        keep_default_na=False,
        index_col=False,
        header=None if header else 0,
        names=header,
    )
    rows.columns = rows.columns.str.strip()
    return rows.rename(columns={"text_a": "sentence"})  # as some copies of SST-2 call it


def _labels(path: Path, task: Task, written: list[str]) -> list[float]:
    read = float if task.outputs == 1 else CLASSES.__getitem__
    labels = []
    for number, label in enumerate(written, 1):
        try:
            labels.append(read(label))
        except (KeyError, ValueError):
            raise TextsError(f"{path}: example {number}: {label!r} is not a {task.label}") from None
    return labels
