"""``ds.layerscope``: functions of LayerScope as methods of a capture or an analysis.

Importing this module registers the accessor with xarray; so does opening or analysing a capture. The methods call the public
functions of `layerscope`, which are imported on use: this module imports only xarray.
"""

import os
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import xarray

from layerscope.arguments import checked

__all__ = ["LayerScopeAccessor"]

Capture = str | os.PathLike[str] | xarray.Dataset


@xarray.register_dataset_accessor("layerscope")  # type: ignore[no-untyped-call]
class LayerScopeAccessor:
    """Each method is the function of that name in `layerscope`, with this Dataset as its first argument.

    Of a capture: `similarity`, `statistics`, `compare`, `analyze`. Of an analysis: `segment`, `best_match`. Options are those of
    the functions.

    A Dataset is measured with all selections applied. For a whole file of many tokens, pass the path to the function instead:
    that reads many times faster.

    Examples
    --------
    >>> import numpy as np
    >>> token = ("token", np.array([0, 0, 1, 1]))
    >>> capture = xarray.Dataset(
    ...     {"hidden": (("token", "layer", "feature"), np.ones((4, 3, 2)))},
    ...     {"layer": [0, 1, 2], "layer_name": ("layer", ["embedding", "block.0", "block.1"])}
    ...     | {"sequence_index": token, "position": token, "token_id": token},
    ... )
    >>> capture.sel(layer=[1, 2]).layerscope.similarity("cosine").values
    array([[1., 1.],
           [1., 1.]])
    """

    def __init__(self, dataset: xarray.Dataset) -> None:
        self._dataset = dataset

    @checked
    def similarity(self, measure: str = "cosine", **options: Any) -> xarray.DataArray:
        """Measure the similarity of the layers: `layerscope.similarity`."""
        answer: xarray.DataArray = _ask("similarity", self._dataset, measure, **options)
        return answer

    @checked
    def statistics(self, measures: str | Iterable[str] | None = None, **options: Any) -> xarray.Dataset:
        """Measure properties of each layer: `layerscope.statistics`."""
        answer: xarray.Dataset = _ask("statistics", self._dataset, measures, **options)
        return answer

    @checked
    def compare(self, other: Capture, measure: str = "cka", **options: Any) -> xarray.DataArray:
        """Measure the similarity of these layers to those of another capture: `layerscope.compare`."""
        answer: xarray.DataArray = _ask("compare", self._dataset, other, measure, **options)
        return answer

    @checked
    def analyze(self, other: Capture | None = None, **options: Any) -> xarray.Dataset:
        """Compute an analysis: `layerscope.analyze`."""
        answer: xarray.Dataset = _ask("analyze", self._dataset, other, **options)
        return answer

    @checked
    def segment(self, measure: str = "cosine", segments: int | str = 3) -> Any:
        """Find the segments in one measure of this analysis: `layerscope.segmentation.similarity.segment_measure`."""
        return _ask("segment_measure", self._dataset, measure, segments, home="layerscope.segmentation.similarity")

    @checked
    def best_match(self, measure: str = "cka") -> xarray.Dataset:
        """Find for each layer its best match in the other capture of this analysis: `layerscope.best_match`."""
        answer: xarray.Dataset = _ask("best_match", self._dataset, measure)
        return answer


def _ask(name: str, *arguments: Any, home: str = "layerscope", **options: Any) -> Any:
    return getattr(import_module(home), name)(*arguments, **options)
