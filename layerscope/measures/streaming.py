"""Analyse rows without a file: an accumulator that receives the states of a capture while the model runs.

Each row is seen once, in any order. Measures that need several passes are computed on a seeded sample of rows in memory, which
their attributes record.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import xarray

from layerscope.arguments import checked
from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import finish
from layerscope.measures.catalogue import find_measures
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.device import on_device
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.passes.engine import Engine
from layerscope.models.devices import find_device
from layerscope.states import StateRows, after_first
from layerscope.stream_names import STREAMS

__all__ = ["Statistics"]


class Statistics:
    """A sink for the rows of a capture that computes the same Dataset as `analyze`.

    Up to 4,096 tokens, the result is that of `analyze`. Above, ``cka`` and ``cosine_centered``, which need more than one pass,
    are computed on a seeded sample of 4,096 tokens, or fewer if these do not fit into a quarter of the memory. The same applies
    to ``cka_biased``, ``procrustes`` and the spectra if their sums do not fit into a quarter of the memory.

    Parameters
    ----------
    measures
        Names of measures; None for the default ones.
    stream
        The stream of the rows that is measured: ``resid``, ``attn`` or ``mlp``; capture it with ``streams=…``.
    layer, layer_name
        Numbers and names of the states, of ``attn`` and ``mlp`` those of the blocks; None for 0, 1, … and ``embedding``,
        ``block.0``, ….
    exclude_first, bootstrap, memory, device, seed
        See `analyze`.

    Raises
    ------
    UsageError
        An unknown measure or an impossible number.

    Examples
    --------
    >>> statistics = Statistics(["norm"])
    >>> number = np.arange(2)
    >>> statistics.update(StateRows(torch.ones(2, 1, 4), number, number, number, number))
    >>> statistics.result()["norm"].values
    array([2.])
    """

    keeps_rows = False

    @checked
    def __init__(
        self,
        measures: str | Iterable[str] | None = None,
        *,
        stream: str = "resid",
        layer: Sequence[int] | None = None,
        layer_name: Sequence[str] | None = None,
        exclude_first: int = 0,
        bootstrap: int = 0,
        memory: str | int = "4GB",
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self._options = AnalysisOptions.from_arguments(
            measures=measures,
            stream=stream,
            exclude_first=exclude_first,
            bootstrap=bootstrap,
            memory=memory,
            device=device,
            seed=seed,
        )
        self._device = find_device(device)
        self._layer = None if layer is None else np.array(layer, np.int64)
        self._layer_name = layer_name
        self._engine: Engine | None = None

    def update(self, rows: StateRows) -> None:
        """Add some rows; each row must be added once.

        Raises
        ------
        UsageError
            The rows have other layers than those before.
        MeasureError
            A state is NaN or infinite.
        """
        rows = self._streams_of(rows)
        if self._engine is None:
            self._engine = Engine(self._context(rows), find_measures(self._options.measures))
        first, shape = self._engine.context.first, tuple(rows.hidden.shape[1:])
        if shape != (len(first), first.width):
            raise UsageError(
                f"Statistics: rows of {shape[0]} layers of {shape[1]} features, after rows of {len(first)} of {first.width}: "
                "make a new one for each capture"
            )
        rows = rows.select(after_first(rows.position, self._options.exclude_first))
        if len(rows):
            dtype = self._engine.context.dtype
            with on_device(self._device):
                self._engine.update(rows.with_states(lambda states: states.to(device="cpu", dtype=dtype)))

    def _streams_of(self, rows: StateRows) -> StateRows:
        """Return the rows with the streams that are measured: of contributions, those of the blocks between the layers."""
        for name in (self._options.stream, *self._options.added):
            states = getattr(rows, STREAMS[name])
            if states is None or not states.shape[1]:
                raise UsageError(f"Statistics: the rows do not have the stream {name}: capture it with --streams")
        layer = np.arange(rows.hidden.shape[1]) if self._layer is None else self._layer
        blocks = layer[layer > 0] - 1  # a capture records the blocks that its states leave
        kept = torch.from_numpy(np.flatnonzero(np.isin(blocks, layer)))
        added = {name: getattr(rows, STREAMS[name])[:, kept] for name in self._options.added}
        return rows.of_stream(self._options.stream).with_added(added)

    def merge(self, part: "Statistics") -> None:
        """Add the rows of another accumulator with the same settings."""
        if part._engine is None:
            return
        if self._engine is None:
            self._engine = part._engine
        else:
            self._engine.merge(part._engine)

    def result(self, attrs: dict[str, str | int | float] | None = None) -> xarray.Dataset:
        """Compute the measures; call it once, after the last row.

        Parameters
        ----------
        attrs
            Attributes of the capture: ``model``, ``texts``, ….

        Raises
        ------
        MeasureError
            There are no rows or too few, or a measure is undefined on the states.
        """
        if self._engine is None or not self._engine.sample.seen:
            raise MeasureError("no token was captured: nothing to analyse; give texts, or take a lower --exclude-first")
        with on_device(self._device):
            self._engine.end_pass()
            return finish(self._engine, [attrs or {}])

    def _context(self, rows: StateRows) -> AnalysisContext:
        _, layers, width = rows.hidden.shape
        layer = np.arange(layers) if self._layer is None else self._layer
        first = 1 if self._options.axis_word == "layer" else 0
        usual = ("embedding" if number < first else f"block.{number - first}" for number in layer.tolist())
        names = tuple(usual if self._layer_name is None else self._layer_name)
        return AnalysisContext(
            first=Axis(layer, names, width, self._options.axis_word),
            second=None,
            dtype=torch.promote_types(rows.hidden.dtype, torch.float32),
            rows=None,
            options=self._options,
            precision=torch.finfo(rows.hidden.dtype).eps,
        )
