"""An analysis without a file: an accumulator that a capture feeds as the model runs.

The rows come once, in whatever order they are computed. What needs several passes is computed on a seeded sample of rows held
in memory, and says so. This module knows the engine and rows; it knows no model.
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
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.passes.engine import Engine
from layerscope.states import StateRows

__all__ = ["Statistics"]


class Statistics:
    """Takes rows as they are captured (it is a sink) and gives the Dataset that `analyze` would.

    Up to 4,096 tokens the result is that of `analyze`. Above, ``cka`` and ``cosine_centered``, which need more than one pass,
    are those of a seeded sample of 4,096 tokens (fewer if a quarter of the memory does not hold them), and so are
    ``cka_biased``, ``procrustes`` and the spectra where their sums are larger than a quarter of the memory.

    Parameters
    ----------
    measures
        Names; None for the default ones.
    layer, layer_name
        The numbers and names of the states that will come; None for 0, 1, … and ``embedding``, ``block.0``, ….
    exclude_first, bootstrap, memory, seed
        As for `analyze`.

    Raises
    ------
    UsageError
        For an unknown measure or an impossible number.

    Examples
    --------
    >>> statistics = Statistics(["norm"])
    >>> number = np.arange(2)
    >>> statistics.update(StateRows(torch.ones(2, 1, 4), number, number, number, number))
    >>> statistics.result()["norm"].values
    array([2.])
    """

    @checked
    def __init__(
        self,
        measures: str | Iterable[str] | None = None,
        *,
        layer: Sequence[int] | None = None,
        layer_name: Sequence[str] | None = None,
        exclude_first: int = 0,
        bootstrap: int = 0,
        memory: str | int = "4GB",
        seed: int = 0,
    ) -> None:
        self._options = AnalysisOptions.from_arguments(
            measures=measures, exclude_first=exclude_first, bootstrap=bootstrap, memory=memory, seed=seed
        )
        self._layer = None if layer is None else np.array(layer, np.int64)
        self._layer_name = layer_name
        self._engine: Engine | None = None

    def update(self, rows: StateRows) -> None:
        """Take some rows; each row must come once.

        Raises
        ------
        UsageError
            For rows of other layers than those before.
        MeasureError
            For a state that is NaN or infinite.
        """
        if self._engine is None:
            self._engine = Engine(self._study(rows), find_measures(self._options.measures))
        first, shape = self._engine.context.first, tuple(rows.hidden.shape[1:])
        if shape != (len(first), first.width):
            raise UsageError(
                f"Statistics: rows of {shape[0]} layers of {shape[1]} features, after rows of {len(first)} of {first.width}: "
                "make a new one for each capture"
            )
        rows = rows.select(rows.position >= self._options.exclude_first)
        if len(rows):
            hidden = rows.hidden.to(device="cpu", dtype=self._engine.context.dtype)
            self._engine.update(StateRows(hidden, rows.row, rows.sequence_index, rows.position, rows.token_id))

    def merge(self, part: "Statistics") -> None:
        """Add what another accumulator of the same settings has taken."""
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
            What is known of the capture: ``model``, ``texts``, ….

        Raises
        ------
        MeasureError
            For no rows, too few, or states a measure has no meaning on.
        """
        if self._engine is None or not self._engine.sample.seen:
            raise MeasureError("no token was captured: nothing to analyse; give texts, or take a lower --exclude-first")
        self._engine.end_pass()
        return finish(self._engine, [attrs or {}])

    def _study(self, rows: StateRows) -> AnalysisContext:
        _, layers, width = rows.hidden.shape
        layer = np.arange(layers) if self._layer is None else self._layer
        usual = ("embedding" if number == 0 else f"block.{number - 1}" for number in layer.tolist())
        names = tuple(usual if self._layer_name is None else self._layer_name)
        return AnalysisContext(
            first=Axis(layer, names, width),
            second=None,
            dtype=torch.promote_types(rows.hidden.dtype, torch.float32),
            rows=None,
            options=self._options,
            precision=torch.finfo(rows.hidden.dtype).eps,
        )
