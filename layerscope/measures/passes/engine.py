"""Run the passes over the rows: each row is read once a pass, for all estimators that need the pass."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from importlib import import_module

from layerscope.errors import MeasureError
from layerscope.measures.accumulators.equal_layers import EqualLayers
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Estimate
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.products import Products
from layerscope.measures.kernels.undefined import undefined_context
from layerscope.measures.passes.limits import keep_limits
from layerscope.measures.passes.rows import RowPair, chunk_rows, split
from layerscope.measures.record import Kind, Measure
from layerscope.states import MEAN, StateRows
from layerscope.threads import thread_pool

__all__ = ["Engine"]

_PRODUCTS = MEASURES["cosine"].estimator


class Engine:
    """The estimators of an analysis, and the estimates of its measures.

    Parameters
    ----------
    context
        The analysis.
    measures
        Measures to compute.

    Attributes
    ----------
    of_means
        Whether a row is the mean over a text.
    """

    def __init__(self, context: AnalysisContext, measures: Iterable[Measure]) -> None:
        self.context = context
        self.measures = _with_companions(measures)
        _refuse_widths(context, self.measures)
        _refuse_blocks(context, self.measures)
        wanted = frozenset(measure.name for measure in self.measures)
        self.sample = self._empty_sample()
        self.equal = self._all_equal()
        self._estimators: dict[str, Estimator] = {_PRODUCTS: Products(context, self.sample, wanted)}
        for measure in self.measures:
            if measure.estimator not in self._estimators:
                self._estimators[measure.estimator] = _load(measure.estimator)(context, self.sample, wanted)
        self._open = list(self._estimators.values())
        self._passes = 0
        self.of_means = False

    @property
    def products(self) -> Products:
        """The estimator that is part of every analysis, because the massive-activation report uses it."""
        estimator = self._estimators[_PRODUCTS]
        assert isinstance(estimator, Products)
        return estimator

    def update(self, rows: StateRows, other: StateRows | None = None) -> None:
        """Add some rows of the pass."""
        for part in split(rows, other, chunk_rows(self.context.row_bytes)):
            self._see(*part)
            for estimator in self._open:
                estimator.update(*part)

    def empty_like(self) -> "Engine":
        """Return an empty engine of the same pass, for a share of the rows, to be merged later."""
        part = copy(self)
        part.sample, part.equal = self._empty_sample(), self._all_equal()
        part._estimators = {
            name: estimator.empty_like(part.sample) if estimator in self._open else estimator
            for name, estimator in self._estimators.items()
        }
        part._open = [estimator for name, estimator in part._estimators.items() if self._estimators[name] in self._open]
        return part

    def merge(self, part: "Engine") -> None:
        """Add the rows that another engine of the same context and measures has processed in this pass."""
        if not self._passes:
            self.sample.merge(part.sample)
            self.of_means |= part.of_means
            self.equal.merge(part.equal)
        for estimator, other in zip(self._open, part._open, strict=True):
            estimator.merge(other)

    def end_pass(self) -> bool:
        """End the pass; return whether another is needed."""
        if not self._passes:
            self._refuse_few()
            for peaks in self.products.peaks:
                peaks.require_normal_scale()
            self._refuse_constant()
        self._passes += 1
        self._open = [estimator for estimator in self._open if estimator.end_pass()]
        return bool(self._open)

    def run(self, read: Callable[[], Iterable[RowPair]]) -> None:
        """Run passes over the rows until no estimator needs another."""
        more = True
        while more:
            shares = self._shares()
            for rows, other in read():
                self._share_out(shares, rows, other)
            for share in shares:
                for estimator, part in share.items():
                    estimator.merge(part)
            more = self.end_pass()

    def _shares(self) -> list[dict[Estimator, Estimator]]:
        """Return, for each thread, empty accumulators of the estimators that threads share; none if memory is too small."""
        shared = [estimator for estimator in self._open if estimator.share_bytes]
        size = sum(estimator.share_bytes for estimator in shared)
        threads = min(thread_pool().size, self.context.options.memory // 8 // size) if size else 0
        return (
            [{estimator: estimator.empty_like(self.sample) for estimator in shared} for _ in range(threads)]
            if threads > 1
            else []
        )

    def _share_out(self, shares: list[dict[Estimator, Estimator]], rows: StateRows, other: StateRows | None) -> None:
        """Divide the rows among threads for the shared estimators; add all rows to the others in this thread."""
        if not shares:
            self.update(rows, other)
            return
        step = chunk_rows(self.context.row_bytes)
        parts = list(split(rows, other, min(step, -(-len(rows) // len(shares)))))
        jobs = [
            thread_pool().submit(partial(_take, share, parts[number :: len(shares)]))
            for number, share in enumerate(shares)
        ]
        self._see(rows, other)
        for estimator in self._open:
            if estimator not in shares[0]:
                estimator.update(rows, other)
        for job in jobs:
            job.result()

    def estimates(self) -> Iterator[tuple[Measure, Estimate]]:
        """Compute the measures, in the order in which they were requested."""
        for measure in self.measures:
            with undefined_context(measure=measure.name):
                estimate = self._estimators[measure.estimator].estimate(measure.name)
            yield measure, keep_limits(measure, estimate, self.context, self.equal.equal)

    def _see(self, rows: StateRows, other: StateRows | None) -> None:
        """Add the rows to the sample and the comparison of layers, in the first pass only."""
        if not self._passes:
            self.sample.update(rows, other)
            self.of_means |= bool((rows.position == MEAN).any())
            self.equal.update([rows.hidden] if other is None else [rows.hidden, other.hidden])

    def _all_equal(self) -> EqualLayers:
        return EqualLayers([len(axis) for axis in self.context.axes])

    def _empty_sample(self) -> RowSample:
        return RowSample(
            self.context,
            exact=any(_load(measure.estimator).needs_exact_sample for measure in self.measures),
            medians_only=not any(measure.on_sample for measure in self.measures),
        )

    def _refuse_few(self) -> None:
        tokens = self.products.tokens
        for measure in self.measures:
            if tokens < measure.least_tokens:
                excluded = (
                    f" after leaving out {self.context.options.exclude_first} at each start"
                    if self.context.options.exclude_first
                    else ""
                )
                raise MeasureError(
                    f"{measure.name} needs at least {measure.least_tokens} tokens, got {tokens}{excluded}: "
                    "capture more texts, or leave the measure out"
                )

    def _refuse_constant(self) -> None:
        constant = [(peak.axis, index) for peak in self.products.peaks for index in peak.constant(self.context.epsilon)]
        undefined = [measure.name for measure in self.measures if measure.needs_variation]
        if constant and undefined:
            axis, index = constant[0]
            raise MeasureError(
                f"{axis.describe(index)} is the same for every token: {', '.join(undefined)} has no meaning there; "
                "leave it out with --measures, or the layer at the capture with --layers"
            )


def _take(share: dict[Estimator, Estimator], parts: list[RowPair]) -> None:
    for part in parts:
        for estimator in share.values():
            estimator.update(*part)


def _with_companions(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """Return the measures and their companions, each once."""
    wanted = {measure.name: measure for measure in measures}
    companions = [MEASURES[name] for measure in wanted.values() for name in measure.companions]
    return tuple((wanted | {measure.name: measure for measure in companions if measure.name not in wanted}).values())


def _refuse_widths(context: AnalysisContext, measures: Iterable[Measure]) -> None:
    widths = (context.first.width, context.other.width)
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


def _refuse_blocks(context: AnalysisContext, measures: Iterable[Measure]) -> None:
    for measure in measures:
        if measure.kind is Kind.PER_BLOCK and not all(len(axis.blocks) for axis in context.axes):
            raise MeasureError(
                f"{measure.name} needs the states before and after a block, and there are no two neighbouring layers: "
                "capture more --layers"
            )


def _load(estimator: str) -> type[Estimator]:
    module, name = estimator.split(":")
    estimator_class: type[Estimator] = getattr(import_module(module), name)
    return estimator_class
