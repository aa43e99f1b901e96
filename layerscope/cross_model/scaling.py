"""Compare the beginning, middle and ending layers of models of different sizes.

`layerscope.cross_model.scaling_inputs` selects the matrices, and `layerscope.cross_model.scaling_dataset` assembles the
result.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import xarray as xr

from layerscope.arguments import checked
from layerscope.cross_model.scaling_dataset import SEGMENTS, SegmentSizes, scaling_dataset
from layerscope.cross_model.scaling_inputs import InputKey, ScalingInput, ScalingModel, scaling_inputs, scaling_models
from layerscope.errors import MeasureError, UsageError
from layerscope.progress import progress as progress_bar
from layerscope.results import read_analysis
from layerscope.segmentation.segmentation import segment
from layerscope.segmentation.stability import replicate_partitions

__all__ = ["scaling"]


@checked
def scaling(
    analyses: Annotated[Sequence[str | os.PathLike[str] | xr.Dataset], "a list of two analyses or more"],
    *,
    measure: str | None = None,
    progress: bool = False,
) -> xr.Dataset:
    r"""Compare beginning, middle and ending layers across models.

    Each similarity matrix is divided into three segments by `layerscope.segment`. So is each of its bootstrap replicates over
    texts, which gives the intervals. Sizes :math:`m` count states, state 0 included, of :math:`T+1`; proportions are
    :math:`m/(T+1)`. Four curves are fitted to the sizes of each segment by least squares: constant
    :math:`m=a`, proportional :math:`m=b(T+1)`, affine :math:`m=a+b(T+1)`, and logarithmic in the parameters
    :math:`m=a+b\log_{10}P`. The data support the one with the lowest leave-one-out error; ties go to the simplest.
    Intervals are over the texts, for exactly these models; for a further model, see the leave-one-out error.

    Parameters
    ----------
    analyses
        Analysis files, or Datasets as `layerscope.analyze` returns them of capture files, with a bootstrap: of two models
        or more, of each model one, or several with different ``exclude_first``.
    measure
        A similarity measure; by default all that every analysis contains.
    progress
        Show a progress bar when standard error is a terminal.

    Returns
    -------
    xarray.Dataset
        Dimensions ``model`` (by parameters; by depth where some are unknown), ``reading`` (a measure and the number of tokens
        left out at the start of each sequence), ``segment``, ``form``, ``claim``, ``replicate``, ``layer`` and
        ``layer_other``. The variables are listed in the conventions.

    Raises
    ------
    UsageError
        Fewer than two analyses; no analysis contains `measure`.
    MeasureError
        The analyses cannot be compared: one model only, a model twice, different measures or ``exclude_first``, two
        captures, or no replicates.
    FileError
        A file is not an analysis.

    References
    ----------
    Sun et al. 2024, Transformer Layers as Painters, arXiv 2407.09298 (Fig. 14).

    Examples
    --------
    >>> def analysis(sizes):
    ...     owner = np.repeat([0, 1, 2], sizes)
    ...     matrix = np.where(owner[:, None] == owner, 1.0, 0.1)
    ...     dims, depth = ("layer", "layer_other"), len(owner) - 1
    ...     return xr.Dataset(
    ...         {"cosine": (dims, matrix), "cosine_bootstrap": (("replicate", *dims), np.stack([matrix] * 4))},
    ...         {"layer": np.arange(depth + 1)},
    ...         {"model": f"of {depth}", "num_blocks": depth, "parameters": 1000 * depth},
    ...     )
    >>> result = scaling([analysis([2, 6, 1]), analysis([2, 10, 1]), analysis([2, 14, 1])])
    >>> result["size"].sel(segment="beginning").values.ravel()
    array([2, 2, 2])
    >>> result["supported"].sel(segment=["beginning", "middle"]).values.tolist()
    [['constant', 'affine']]
    >>> dict(zip(result["claim"].values.tolist(), result["verdict"].values[0].tolist()))
    {'ending_is_one_layer': 'holds', 'beginning_proportion_falls': 'holds'}
    """
    if len(analyses) < 2:
        raise UsageError("scaling compares models: give at least two analyses")
    models = scaling_models([_opened(given, number) for number, given in enumerate(analyses, 1)])
    inputs = scaling_inputs(models, measure)
    _require_equal_counts(models, inputs)
    _warn_of_differences(models)
    sizes: dict[InputKey, list[SegmentSizes]] = {}
    with progress_bar("segmenting", len(inputs) * len(models), "matrices", show=progress) as advance:
        for key, of_models in inputs.items():
            sizes[key] = []
            for model, of_model in zip(models, of_models, strict=True):
                sizes[key].append(_segment_sizes(model, of_model))
                advance(1)
    return scaling_dataset(models, inputs, sizes)


def _opened(given: str | os.PathLike[str] | xr.Dataset, number: int) -> tuple[str, xr.Dataset]:
    if isinstance(given, xr.Dataset):
        return f"analysis {number}", given
    return os.fspath(given), read_analysis(given)


def _warn_of_differences(models: Sequence[ScalingModel]) -> None:
    """Warn of unknown numbers of parameters and of different texts."""
    unknown = [model.name for model in models if np.isnan(model.parameters)]
    if unknown:
        warnings.warn(
            f"the captures of {', '.join(unknown)} do not record the number of parameters: models are ordered by depth",
            stacklevel=4,
        )
    texts = {model.texts for model in models}
    if len(texts) > 1:
        warnings.warn(f"the models were captured on different texts: {', '.join(sorted(texts))}", stacklevel=4)


def _require_equal_counts(models: Sequence[ScalingModel], inputs: dict[InputKey, list[ScalingInput]]) -> None:
    """Raise for different numbers of replicates: replicate i must be the same resample of texts in all models."""
    for (measure, _), of_models in inputs.items():
        counts = [of_model.replicates.sizes["replicate"] for of_model in of_models]
        for model, count in zip(models, counts, strict=True):
            if count != counts[0]:
                raise MeasureError(
                    f"{measure} has {counts[0]} replicates for {models[0].name}, {count} for {model.name}: "
                    "analyze all models with the same --bootstrap"
                )


def _segment_sizes(model: ScalingModel, inputs: ScalingInput) -> SegmentSizes:
    """Divide one matrix and each of its replicates into three segments."""
    try:
        segmentation = segment(inputs.similarity, len(SEGMENTS))
        starts = replicate_partitions(inputs.replicates, len(SEGMENTS), model.states)
    except MeasureError as error:
        raise MeasureError(f"{model.name}: {error}") from error
    stable = (starts == np.array(segmentation.starts[1:])).mean(axis=0)
    return SegmentSizes(
        np.array(segmentation.sizes), segmentation.score, stable, np.diff(starts, prepend=0, append=model.states)
    )
