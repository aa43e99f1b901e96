"""The passes over the rows: every family that needs a pass is fed by the same read.

This module knows families and rows; it knows no formula, no labels and no files.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from importlib import import_module

from layerscope.errors import MeasureError
from layerscope.measures.accumulators.equal_layers import EqualLayers
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.crew import crew
from layerscope.measures.families.family import Family
from layerscope.measures.families.products import Products
from layerscope.measures.passes.limits import keep_limits
from layerscope.measures.passes.reading import RowPair, chunk_rows, split
from layerscope.measures.record import Measure
from layerscope.measures.study import Estimate, Study
from layerscope.states import StateRows

__all__ = ["Engine"]

_PRODUCTS = MEASURES["cosine"].family


class Engine:
    """Accumulators for the measures asked for, and their results.

    Parameters
    ----------
    study
        What is analysed.
    measures
        What to compute.

    """

    def __init__(self, study: Study, measures: Iterable[Measure]) -> None:
        self.study = study
        self.measures = _with_companions(measures)
        _refuse_widths(study, self.measures)
        wanted = frozenset(measure.name for measure in self.measures)
        self.sample = self._empty_sample()
        self.equal = self._all_equal()
        self._families: dict[str, Family] = {_PRODUCTS: Products(study, self.sample, wanted)}
        for measure in self.measures:
            if measure.family not in self._families:
                self._families[measure.family] = _load(measure.family)(study, self.sample, wanted)
        self._open = list(self._families.values())
        self._passes = 0

    @property
    def products(self) -> Products:
        """The family that is always there, with what the massive-activation report needs."""
        family = self._families[_PRODUCTS]
        assert isinstance(family, Products)
        return family

    def update(self, rows: StateRows, other: StateRows | None = None) -> None:
        """Take some rows of the pass."""
        for part in split(rows, other, chunk_rows(self.study.row_bytes)):
            self._see(*part)
            for family in self._open:
                family.update(*part)

    def fresh(self) -> "Engine":
        """Make an engine in the same pass that has taken nothing, to take a share of the rows and be merged."""
        part = copy(self)
        part.sample, part.equal = self._empty_sample(), self._all_equal()
        part._families = {
            name: family.fresh(part.sample) if family in self._open else family
            for name, family in self._families.items()
        }
        part._open = [family for name, family in part._families.items() if self._families[name] in self._open]
        return part

    def merge(self, part: "Engine") -> None:
        """Add what another engine of the same study and measures has taken in this pass."""
        if not self._passes:
            self.sample.merge(part.sample)
            self.equal.merge(part.equal)
        for family, other in zip(self._open, part._open, strict=True):
            family.merge(other)

    def end_pass(self) -> bool:
        """Close the pass; say whether another is needed."""
        if not self._passes:
            self._refuse_few()
            self._refuse_constant()
        self._passes += 1
        self._open = [family for family in self._open if family.end_pass()]
        return bool(self._open)

    def run(self, read: Callable[[], Iterable[RowPair]]) -> None:
        """Read the rows as often as needed."""
        more = True
        while more:
            shares = self._shares()
            for rows, other in read():
                self._share_out(shares, rows, other)
            for share in shares:
                for family, part in share.items():
                    family.merge(part)
            more = self.end_pass()

    def _shares(self) -> list[dict[Family, Family]]:
        """Make empty accumulators of the families whose work is shared, for each thread, as far as the memory goes."""
        shared = [family for family in self._open if family.share_bytes]
        size = sum(family.share_bytes for family in shared)
        threads = min(crew().size, self.study.memory // 8 // size) if size else 0
        return [{family: family.fresh(self.sample) for family in shared} for _ in range(threads)] if threads > 1 else []

    def _share_out(self, shares: list[dict[Family, Family]], rows: StateRows, other: StateRows | None) -> None:
        """Let each thread take some of the rows for the shared families, and take all rows for the others here."""
        if not shares:
            self.update(rows, other)
            return
        step = chunk_rows(self.study.row_bytes)
        parts = list(split(rows, other, min(step, -(-len(rows) // len(shares)))))
        jobs = [crew().work(partial(_take, share, parts[number :: len(shares)])) for number, share in enumerate(shares)]
        self._see(rows, other)
        for family in self._open:
            if family not in shares[0]:
                family.update(rows, other)
        for job in jobs:
            job.result()

    def estimates(self) -> Iterator[tuple[Measure, Estimate]]:
        """Compute the measures, in the order they were asked for."""
        for measure in self.measures:
            estimate = self._families[measure.family].estimate(measure.name)
            yield measure, keep_limits(measure, estimate, self.study, self.equal.equal)

    def _see(self, rows: StateRows, other: StateRows | None) -> None:
        """Take in the first pass what is no family's own."""
        if not self._passes:
            self.sample.update(rows, other)
            self.equal.update([rows.hidden] if other is None else [rows.hidden, other.hidden])

    def _all_equal(self) -> EqualLayers:
        return EqualLayers([len(axis) for axis in self.study.axes])

    def _empty_sample(self) -> RowSample:
        return RowSample(
            self.study,
            exact=any(measure.name == "cka" for measure in self.measures),
            medians_only=not any(measure.on_sample for measure in self.measures),
        )

    def _refuse_few(self) -> None:
        tokens = self.products.tokens
        for measure in self.measures:
            if tokens < measure.least_tokens:
                excluded = (
                    f" after leaving out {self.study.exclude_first} at each start" if self.study.exclude_first else ""
                )
                raise MeasureError(
                    f"{measure.name} needs at least {measure.least_tokens} tokens, got {tokens}{excluded}: "
                    "capture more texts, or leave the measure out"
                )

    def _refuse_constant(self) -> None:
        constant = [(peak.axis, index) for peak in self.products.peaks for index in peak.constant(self.study.epsilon)]
        undefined = [measure.name for measure in self.measures if measure.needs_variation]
        if constant and undefined:
            axis, index = constant[0]
            raise MeasureError(
                f"{axis.describe(index)} is the same for every token: {', '.join(undefined)} has no meaning there; "
                "leave it out with --measures, or the layer at the capture with --layers"
            )


def _take(share: dict[Family, Family], parts: list[RowPair]) -> None:
    for part in parts:
        for family in share.values():
            family.update(*part)


def _with_companions(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """Add the sequence cosine without first tokens to that with them: it costs nothing and is read beside it."""
    chosen = {measure.name: measure for measure in measures}
    if "cosine_sequence" in chosen:
        companion = MEASURES["cosine_sequence_without_first"]
        chosen.setdefault(companion.name, companion)
    return tuple(chosen.values())


def _refuse_widths(study: Study, measures: Iterable[Measure]) -> None:
    widths = (study.first.width, study.other.width)
    if widths[0] == widths[1]:
        return
    for measure in measures:
        if measure.same_width and measure.kind == "pairwise":
            fit = ", ".join(
                name for name, known in MEASURES.items() if known.kind == "pairwise" and not known.same_width
            )
            raise MeasureError(
                f"{measure.name} compares states of one width, got {widths[0]} and {widths[1]} features: "
                f"between these captures take --measures {fit.replace(' ', '')}"
            )


def _load(family: str) -> type[Family]:
    module, name = family.split(":")
    found: type[Family] = getattr(import_module(module), name)
    return found
