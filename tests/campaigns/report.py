"""Count the outcomes of a campaign and print them as a table; run a campaign from the command line."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

_SHOWN = 10


class Trial(NamedTuple):
    """The subject of a trial, its outcome, and an example to print if the outcome is a fault."""

    subject: str
    ending: str
    example: str


Trials = Callable[[int, int], Iterator[Trial]]
"""Makes a number of trials from a seed, in the current folder."""


class Report:
    """Trials counted by subject and ending. Endings that are not in `right` are faults; some examples are kept."""

    def __init__(self, title: str, right: tuple[str, ...]) -> None:
        self.title = title
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.examples: dict[str, list[str]] = defaultdict(list)
        self._right = right

    def add(self, trial: Trial) -> bool:
        """Count a trial; return whether its ending is right."""
        self.counts[trial.subject][trial.ending] += 1
        if trial.ending in self._right:
            return True
        if len(self.examples[trial.ending]) < _SHOWN:
            self.examples[trial.ending].append(f"{trial.subject}: {trial.example}")
        return False

    @property
    def total(self) -> Counter[str]:
        """Number of trials by ending."""
        return sum(self.counts.values(), Counter[str]())

    @property
    def faults(self) -> int:
        """Number of faults."""
        return sum(count for ending, count in self.total.items() if ending not in self._right)

    def __str__(self) -> str:
        total = self.total
        endings = [ending for ending, _ in total.most_common()]
        rows = sorted(self.counts.items()) + [("all", total)] * (len(self.counts) != 1)
        lines = [f"{self.title}: {total.total():,} trials, {self.faults:,} faults", ""]
        lines += [_row([self.title, "trials", *endings]), _row(["---"] * (2 + len(endings)))]
        for subject, counts in rows:
            lines.append(_row([subject, f"{counts.total():,}", *(f"{counts[ending]:,}" for ending in endings)]))
        wrong = [f"{ending}: {example}" for ending, examples in self.examples.items() for example in examples]
        return "\n".join([*lines, "", *wrong]).rstrip()


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(title: str, right: tuple[str, ...], trials: Trials, count: int) -> NoReturn:
    """Run a campaign from the command line, in a temporary folder; exit with 1 if there is a fault.

    Parameters
    ----------
    title
        The subject of the campaign.
    right
        The endings that are no faults.
    trials
        Makes the trials.
    count
        The default number of trials.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report, begun = Report(title, right), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ |= {"LAYERSCOPE_CACHE": f"{folder}/cache", "HF_HUB_OFFLINE": "1"}
        try:
            for trial in trials(options.count, options.seed):
                if not report.add(trial):
                    print(f"{trial.ending}: {trial.subject}: {trial.example}", file=sys.stderr, flush=True)
        finally:  # an interrupted campaign prints its report, too
            print(report)
            print(f"{time.monotonic() - begun:,.0f} s", flush=True)
    sys.exit(1 if report.faults else 0)
