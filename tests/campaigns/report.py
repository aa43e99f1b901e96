"""Counts of a campaign's outcomes, with the first examples of each fault."""

from collections import Counter, defaultdict

_SHOWN = 10


class Report:
    """Outcomes by name. Those in `expected` are fine; every other one is a fault and keeps its examples."""

    def __init__(self, title: str, expected: tuple[str, ...]) -> None:
        self.title = title
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self._expected = expected

    def add(self, outcome: str, example: str) -> None:
        """Count one outcome."""
        self.counts[outcome] += 1
        if outcome not in self._expected and len(self.examples[outcome]) < _SHOWN:
            self.examples[outcome].append(example)

    @property
    def faults(self) -> int:
        """How many outcomes were not expected."""
        return sum(count for outcome, count in self.counts.items() if outcome not in self._expected)

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        """Print the counts, also those of a campaign that was interrupted."""
        print(self, flush=True)

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.counts.total():,} tried, {self.faults:,} faults"]
        lines += [f"  {count:>7,}  {outcome}" for outcome, count in self.counts.most_common()]
        lines += [f"  {outcome}: {example}" for outcome, examples in self.examples.items() for example in examples]
        return "\n".join(lines)
