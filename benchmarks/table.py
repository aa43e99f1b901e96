"""Rows of results of the benchmarks, and the table that shows them.

A row is a ratio of two times in one round of one run: its median over rounds, the smallest and the largest.
"""

import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("layerscope", "torch", "transformers", "nnsight", "transformer-lens", "lm-eval", "ckatorch", "rsatoolbox")


@dataclass(frozen=True)
class Row:
    """One result: a ratio with its range over rounds.

    Attributes
    ----------
    name
        What is compared with what.
    ratio, smallest, largest
        Median and range over rounds.
    aim
        What the ratio should be, such as ``≤ 1.03``; empty without an aim.
    seconds
        Median time of one run of what is compared.
    peak
        Largest memory in bytes while it ran.
    """

    name: str
    ratio: float
    smallest: float
    largest: float
    aim: str = ""
    seconds: float | None = None
    peak: int | None = None

    @classmethod
    def of(
        cls,
        name: str,
        ratios: Sequence[float],
        aim: str = "",
        seconds: Sequence[float] | None = None,
        peak: int | None = None,
    ) -> "Row":
        typical = None if seconds is None else statistics.median(seconds)
        return cls(name, statistics.median(ratios), min(ratios), max(ratios), aim, typical, peak)


def ratios(times: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Divide times by those of the baseline, round by round."""
    return [mine / its for mine, its in zip(times, baseline, strict=True)]


def markdown(groups: Mapping[str, Sequence[Row]]) -> str:
    """Return a markdown table of groups of rows; a column that no row has is left out."""
    columns = {
        "ratio": lambda row: number(row.ratio),
        "smallest": lambda row: number(row.smallest),
        "largest": lambda row: number(row.largest),
        "aim": lambda row: row.aim,
        "seconds": lambda row: "" if row.seconds is None else f"{row.seconds:.3g}",
        "peak GB": lambda row: "" if row.peak is None else f"{row.peak / 1e9:.2f}",
    }
    cells = [
        (group, row.name, {head: cell(row) for head, cell in columns.items()})
        for group, rows in groups.items()
        for row in rows
    ]
    heads = [head for head in columns if any(values[head] for *_, values in cells)]
    lines = [["benchmark", "", *heads], ["---", "---", *(["---:"] * len(heads))]]
    lines += [[group, name, *(values[head] for head in heads)] for group, name, values in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float) -> str:
    """Return a ratio with three digits.

    Examples
    --------
    >>> number(1.0312), number(31.24), number(234.5)
    ('1.03', '31.2', '234')
    """
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}"


def machine(device: torch.device | None = None) -> str:
    """Describe the processor, its cores and threads, and the GPU of `device`."""
    described = f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()}"
    if device is None or device.type != "cuda":
        return f"{described}, no GPU"
    card = torch.cuda.get_device_properties(device)
    return f"{card.name} ({card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}); {described}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the benchmarks run, of those that are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
