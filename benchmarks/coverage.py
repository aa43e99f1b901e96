"""Count how often 95 % intervals include the true value, and how often unrelated layers fall outside the interval of chance.

All data are simulated with a seed and analysed by `layerscope.analyze`. A text of 3 to 7 tokens has a topic, a random vector
that all its tokens share; each token adds noise. For coverage, the second layer is a random linear map of the first plus noise.
For levels, the second layer is unrelated to the first, with other topics or with independent tokens. Each command takes hours
on one core::

    OMP_NUM_THREADS=1 python benchmarks/coverage.py coverage --output layerscope/measures/coverage.csv
    OMP_NUM_THREADS=1 python benchmarks/coverage.py levels --output levels.csv
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray

from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind

WIDTH = 8
POPULATION_TEXTS, POPULATIONS = 400, 6  # 2,000 tokens: no measure takes a sample
LEVEL_MEASURES = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]
Row = dict[str, str | int | float]


def as_capture(layers: list[np.ndarray], lengths: np.ndarray) -> xarray.Dataset:
    """Return a capture with these states, layer by layer."""
    names = ["embedding", *(f"block.{block}" for block in range(len(layers) - 1))]
    position = np.concatenate([np.arange(length) for length in lengths])
    token = {
        "sequence_index": np.repeat(np.arange(len(lengths)), lengths),
        "position": position,
        "token_id": position,
    }
    return xarray.Dataset(
        {"hidden": (("token", "layer", "feature"), np.stack(layers, axis=1))},
        {"layer": np.arange(len(layers)), "layer_name": ("layer", names)}
        | {name: ("token", values) for name, values in token.items()},
    )


def lengths_of(texts: int, rng: np.random.Generator, *, equal: bool = False) -> np.ndarray:
    return np.full(texts, 5) if equal else rng.integers(3, 8, size=texts)


def states(lengths: np.ndarray, rng: np.random.Generator, topic: float) -> np.ndarray:
    """Draw states whose features differ in scale and have a nonzero mean."""
    noise = rng.normal(size=(lengths.sum(), WIDTH))
    shared = np.repeat(rng.normal(size=(len(lengths), WIDTH)), lengths, axis=0)
    return (topic * shared + noise) * np.exp(-np.arange(WIDTH) / 4) + 0.5


def related(texts: int, seed: int) -> xarray.Dataset:
    """Draw a layer, and a linear map of it plus noise."""
    rng = np.random.default_rng([seed, texts])
    lengths = lengths_of(texts, rng)
    first = states(lengths, rng, topic=1.0)
    mapping = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
    return as_capture([first, first @ mapping + 0.7 * rng.normal(size=first.shape) + 0.3], lengths)


def unrelated(texts: int, seed: int, *, topic: float, equal: bool) -> xarray.Dataset:
    """Draw two layers that share only the lengths of their texts."""
    rng = np.random.default_rng([seed, texts, 1])
    lengths = lengths_of(texts, rng, equal=equal)
    return as_capture([states(lengths, rng, topic) for _ in range(2)], lengths)


def of_second(result: xarray.Dataset, name: str) -> float:
    """Return the value of the second layer, or of the pair."""
    if name not in result:
        return np.nan
    return float(result[name].values[0, 1] if result[name].ndim == 2 else result[name].values[1])


def coverage(names: list[str], sizes: list[int], replications: int, bootstrap: int) -> Iterator[Row]:
    """Compare intervals with the population value, and with the mean estimate for that number of texts."""
    large = [analyze(related(POPULATION_TEXTS, 10**6 + seed), measures=names) for seed in range(POPULATIONS)]
    truth = {name: np.mean([of_second(result, name) for result in large]) for name in names}
    for texts in sizes:
        intervals: dict[str, list[list[float]]] = {name: [] for name in names}
        for seed in range(replications):
            result = analyze(related(texts, seed), measures=names, bootstrap=bootstrap, seed=seed)
            for name in names:
                intervals[name].append([of_second(result, f"{name}{end}") for end in ("_low", "", "_high")])
            _show(f"{texts} texts", seed, replications)
        for name in names:
            low, value, high = np.array(intervals[name]).T
            if np.isnan(low).all():
                continue
            covered = [float(((low <= target) & (target <= high)).mean()) for target in (truth[name], value.mean())]
            yield {
                "measure": name,
                "texts": texts,
                "population": round(covered[0], 3),
                "expectation": round(covered[1], 3),
            }


DESIGNS: dict[str, Callable[[int, int], xarray.Dataset]] = {
    "independent tokens": lambda texts, seed: unrelated(texts, seed, topic=0.0, equal=True),
    "a topic a text": lambda texts, seed: unrelated(texts, seed, topic=1.5, equal=True),
    "a topic a text, lengths 3 to 7": lambda texts, seed: unrelated(texts, seed, topic=1.5, equal=False),
}


def levels(names: list[str], sizes: list[int], replications: int, null: int, designs: list[str]) -> Iterator[Row]:
    """Count how often unrelated layers fall below and above the interval of chance."""
    for design in designs:
        draw = DESIGNS[design]
        for texts in sizes:
            outside: dict[str, list[tuple[bool, bool]]] = {name: [] for name in names}
            for seed in range(replications):
                result = analyze(draw(texts, seed), measures=names, null=null, seed=seed)
                for name in names:
                    low, value, high = (of_second(result, f"{name}{end}") for end in ("_null_low", "", "_null_high"))
                    outside[name].append((value < low, value > high))
                _show(f"{design}, {texts} texts", seed, replications)
            for name in names:
                below, above = np.mean(outside[name], axis=0)
                yield {
                    "measure": name,
                    "design": design,
                    "texts": texts,
                    "null": null,
                    "below": round(float(below), 3),
                    "above": round(float(above), 3),
                }


def _show(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty() or not (done + 1) % 20 or done + 1 == total:
        print(f"\r{what}: {done + 1} of {total}", end="\n" if done + 1 == total else "", file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line, simulate, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coverage", "levels"])
    parser.add_argument("--measures", help="names separated by commas (all)")
    parser.add_argument("--texts", default="20,60")
    parser.add_argument("--replications", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200, help="replicates, or pairings")
    parser.add_argument(
        "--design", action="append", choices=list(DESIGNS), help="design of levels; may be repeated (all)"
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    known = list(MEASURES) if options.what == "coverage" else LEVEL_MEASURES
    names = options.measures.split(",") if options.measures else known
    sizes = [int(texts) for texts in options.texts.split(",")]
    if options.what == "coverage":
        rows = list(coverage(names, sizes, options.replications, options.draws))
    else:
        rows = list(levels(names, sizes, options.replications, options.draws, options.design or list(DESIGNS)))
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
