"""Beginning, middle and ending layers across models of different sizes: the front door.

Every similarity of every model is cut into three; so is each of its bootstrap replicates. See
`layerscope.cross_model.scaling_inputs` for what is compared, `layerscope.cross_model.scaling_dataset` for what comes of it. This
module knows no model, no capture and no figure.
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

    Each similarity matrix is cut into three by `layerscope.segment`, and so is each of its bootstrap replicates over
    texts, which gives the intervals. Sizes :math:`m` count states, state 0 included, of :math:`T+1`; proportions are
    :math:`m/(T+1)`. Four curves are fitted to the sizes of each segment by least squares: constant
    :math:`m=a`, proportional :math:`m=b(T+1)`, affine :math:`m=a+b(T+1)`, and logarithmic in the parameters
    :math:`m=a+b\log_{10}P`. The data support the one with the least leave-one-out error, the simplest among equals.
    Intervals are over the texts, for these very models; what a further model would do, the leave-one-out error says.

    Parameters
    ----------
    analyses
        Analysis files, or Datasets as `layerscope.analyze` returns them of capture files, with a bootstrap: of two models
        or more, of each model one, or several with different ``exclude_first``.
    measure
        One similarity; every one that all analyses hold by default.
    progress
        Whether to show a bar when standard error is a terminal.

    Returns
    -------
    xarray.Dataset
        Dimensions ``model`` (by parameters; by depth where some are unknown), ``reading`` (a measure with the tokens left
        out at each start), ``segment``, ``form``, ``claim``, ``replicate``, ``layer`` and ``layer_other``. The variables
        are listed in the conventions.

    Raises
    ------
    UsageError
        Fewer than two analyses; no analysis holds `measure`.
    MeasureError
        Analyses that cannot be compared: of one model, of one model twice, of different measures or ``exclude_first``, of
        two captures, without replicates.
    FileError
        A file is no analysis.

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
    >>> found = scaling([analysis([2, 6, 1]), analysis([2, 10, 1]), analysis([2, 14, 1])])
    >>> found["size"].sel(segment="beginning").values.ravel()
    array([2, 2, 2])
    >>> found["supported"].sel(segment=["beginning", "middle"]).values.tolist()
    [['constant', 'affine']]
    >>> dict(zip(found["claim"].values.tolist(), found["verdict"].values[0].tolist()))
    {'ending_is_one_layer': 'holds', 'beginning_proportion_falls': 'holds'}
    """
    if len(analyses) < 2:
        raise UsageError("scaling compares models: give two analyses or more")
    members = scaling_models([_opened(given, place) for place, given in enumerate(analyses, 1)])
    readings = scaling_inputs(members, measure)
    _require_equal_counts(members, readings)
    _say_what_differs(members)
    cuts: dict[InputKey, list[SegmentSizes]] = {}
    with progress_bar("segmenting", len(readings) * len(members), "matrices", show=progress) as advance:
        for key, of_models in readings.items():
            cuts[key] = []
            for member, reading in zip(members, of_models, strict=True):
                cuts[key].append(_cut(member, reading))
                advance(1)
    return scaling_dataset(members, readings, cuts)


def _opened(given: str | os.PathLike[str] | xr.Dataset, place: int) -> tuple[str, xr.Dataset]:
    if isinstance(given, xr.Dataset):
        return f"analysis {place}", given
    return os.fspath(given), read_analysis(given)


def _say_what_differs(members: Sequence[ScalingModel]) -> None:
    """Note what a reader of the answer should know, though it can be given."""
    unknown = [member.name for member in members if np.isnan(member.parameters)]
    if unknown:
        warnings.warn(
            f"the captures of {', '.join(unknown)} do not say how many parameters the model has: models are ordered by depth",
            stacklevel=4,
        )
    texts = {member.texts for member in members}
    if len(texts) > 1:
        warnings.warn(f"the models were captured on different texts: {', '.join(sorted(texts))}", stacklevel=4)


def _require_equal_counts(members: Sequence[ScalingModel], readings: dict[InputKey, list[ScalingInput]]) -> None:
    """Refuse different numbers of replicates: a replicate stands for one draw of texts through all models."""
    for (measure, _), of_models in readings.items():
        counts = [reading.replicates.sizes["replicate"] for reading in of_models]
        for member, count in zip(members, counts, strict=True):
            if count != counts[0]:
                raise MeasureError(
                    f"{measure} has {counts[0]} replicates for {members[0].name}, {count} for {member.name}: "
                    "analyze all models with the same --bootstrap"
                )


def _cut(member: ScalingModel, reading: ScalingInput) -> SegmentSizes:
    """Cut one matrix and each of its replicates into three."""
    try:
        found = segment(reading.similarity, len(SEGMENTS))
        starts = replicate_partitions(reading.replicates, len(SEGMENTS), member.states)
    except MeasureError as error:
        raise MeasureError(f"{member.name}: {error}") from error
    stable = (starts == np.array(found.starts[1:])).mean(axis=0)
    return SegmentSizes(np.array(found.sizes), found.score, stable, np.diff(starts, prepend=0, append=member.states))
