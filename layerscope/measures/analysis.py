"""Analyse a capture, or two, and return a labelled Dataset."""

import os
from collections.abc import Iterable, Iterator

import xarray

from layerscope.arguments import checked
from layerscope.measures.catalogue import find_measures
from layerscope.measures.context import AnalysisContext
from layerscope.measures.dataset import add_baselines, build_dataset
from layerscope.measures.device import on_device
from layerscope.measures.estimate import Baseline
from layerscope.measures.estimators.massive_report import report_massive
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.passes.engine import Engine
from layerscope.measures.passes.in_memory import load
from layerscope.measures.passes.pairing import pair
from layerscope.measures.passes.permutation_null import permutation_null
from layerscope.measures.passes.rows import AnalysisRows, RowPair
from layerscope.measures.passes.split_half import noise_ceiling, require_halves, split_half
from layerscope.measures.record import Kind, Measure
from layerscope.models.devices import find_device
from layerscope.progress import progress as progress_bar
from layerscope.provenance import nested, provenance
from layerscope.store.opening import open_source
from layerscope.store.schema import Attribute
from layerscope.store.source import StateSource
from layerscope.version import __version__

__all__ = ["analyze", "analyze_source", "finish"]

CARRIED = ("model", "architecture", "num_blocks", "parameters", "backend", "schedule", "texts")


@checked
def analyze(
    capture: str | os.PathLike[str] | xarray.Dataset,
    other: str | os.PathLike[str] | xarray.Dataset | None = None,
    *,
    measures: str | Iterable[str] | None = None,
    stream: str = "resid",
    align: str = "auto",
    exclude_first: int = 0,
    bootstrap: int = 0,
    null: int = 0,
    ceiling: int = 0,
    memory: str | int = "4GB",
    device: str = "cpu",
    seed: int = 0,
    progress: bool = False,
) -> xarray.Dataset:
    """Measure how alike the layers of a capture are, and what each is like.

    Parameters
    ----------
    capture
        A capture file (fastest), or a Dataset, analysed as given.
    other
        A second capture of the same texts; ``layer_other`` then has its layers.
    measures
        Names (see `layerscope.measures.MEASURES`), or a single one; None for the default ones.
    stream
        ``resid`` measures the states; ``attn`` or ``mlp``, the contributions of the attention or the MLP of each block. ``layer``
        then has the numbers of the blocks.
    align
        How tokens of two captures are paired: ``tokens``, row by row, ``spans``, where they end at the same character
        (both captured with ``spans=True``), or ``auto``, the first where possible; see `layerscope.measures.passes.pairing.pair`.
    exclude_first
        Number of positions to leave out at the start of each sequence, in both captures.
    bootstrap
        Number of bootstrap replicates for 95 % intervals over sequences; 0 for none.
    null
        Number of random pairings of the texts for the permutation null; 0 for none.
    ceiling
        Number of random splits for split-half reliability, over features and over sequences; 0 for none.
    memory
        Approximate memory for the estimators, as ``"4GB"`` or in bytes. At least one minibatch is kept.
    device
        Where large products and decompositions run, such as ``"cuda"``. Sums, ranks and medians stay in the memory of the host.
    seed
        Random seed for minibatches, samples, replicates, pairings and splits.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        A variable ``(layer, layer_other)`` per pairwise measure, ``(layer,)`` per statistic of layers and ``(block,)`` per
        statistic of blocks (``<name>_other`` of the second capture), ``<name>_low`` and ``<name>_high`` with a bootstrap, with
        ``<name>_bootstrap(replicate, layer, layer_other)`` per pairwise measure, and the table of massive activations over
        ``rank``. Attributes record how each
        variable was computed. With `null`, a pairwise measure has ``<name>_null``, the mean over pairings, and
        ``<name>_null_low`` and ``<name>_null_high``, their 95 % interval (`layerscope.measures.passes.permutation_null`). With
        `ceiling`, it has ``<name>_ceiling``, if it allows layers of two widths, and the attribute ``split_half``
        (`layerscope.measures.passes.split_half`).

    Raises
    ------
    UsageError
        An unknown measure or device, or an impossible number.
    ModelError
        This machine does not have the device, or the device has no float64.
    MeasureError
        States on which a measure is undefined, or captures of different tokens.
    FileError
        A file that is not a complete capture.

    Examples
    --------
    >>> import numpy as np
    >>> token = ("token", np.array([0, 0, 1, 1]))
    >>> states = np.array([[[1.0, 0.0], [1.0, 1.0]]] * 4)
    >>> capture = xarray.Dataset(
    ...     {"hidden": (("token", "layer", "feature"), states)},
    ...     {"layer": [0, 1], "layer_name": ("layer", ["embedding", "block.0"])}
    ...     | {"sequence_index": token, "position": token, "token_id": token},
    ... )
    >>> analyze(capture, measures=["cosine"])["cosine"].round(4).values
    array([[1.    , 0.7071],
           [0.7071, 1.    ]])
    """
    options = AnalysisOptions.from_arguments(
        measures=measures,
        stream=stream,
        align=align,
        exclude_first=exclude_first,
        bootstrap=bootstrap,
        null=null,
        ceiling=ceiling,
        memory=memory,
        device=device,
        seed=seed,
    )
    with open_source(capture, stream, options.added) as source:
        if other is None:
            return analyze_source(source, None, options, progress=progress)
        with open_source(other, stream, options.added) as second:
            return analyze_source(source, second, options, progress=progress)


def analyze_source(
    source: StateSource, other: StateSource | None, options: AnalysisOptions, *, progress: bool = False
) -> xarray.Dataset:
    """Analyse any sources of rows; see `analyze`."""
    with on_device(find_device(options.device)):
        return _analyze(source, other, options, progress)


def _analyze(
    source: StateSource, other: StateSource | None, options: AnalysisOptions, progress: bool
) -> xarray.Dataset:
    captures = [source.attrs] if other is None else [source.attrs, other.attrs]
    pairing_attributes: dict[str, Attribute] = {}
    if other is not None:
        pairing = pair(source, other, options.align)
        source, other, pairing_attributes = pairing.first, pairing.second, pairing.attributes
    reader = AnalysisRows(source, other, options.exclude_first)
    context = reader.context(options)
    if options.ceiling:
        require_halves(context)
    engine = Engine(context, find_measures(options.measures))
    engine.run(lambda: _shown(reader, progress))
    dataset = finish(engine, captures).assign_attrs(pairing_attributes)
    pairwise = [measure for measure in engine.measures if measure.kind is Kind.PAIRWISE]
    del engine  # frees its rows: the baselines load them again
    if pairwise and (options.null or options.ceiling):
        add_baselines(dataset, _baselines(reader, pairwise, context, progress))
    return dataset


def finish(engine: Engine, captures: list[dict[str, str | int | float]]) -> xarray.Dataset:
    """Compute the measures from the rows taken, and return them as a Dataset with the attributes of the captures."""
    context = engine.context
    dataset = build_dataset(context, engine.estimates(), report_massive(engine.products))
    attributes: dict[str, str | int | float] = {"layerscope_version": __version__, "stream": context.options.stream}
    for attrs, suffix in zip(captures, ("", "_other"), strict=False):
        attributes |= {f"{name}{suffix}": attrs[name] for name in CARRIED if name in attrs}
    if engine.of_means:
        attributes["mean_warning"] = (
            "the rows are means over the tokens of a text: every measure describes mean states, not the states of tokens"
        )
    options = context.options.recorded(measure.name for measure in engine.measures)
    made = [nested(str(attrs["provenance"])) for attrs in captures if "provenance" in attrs]
    return dataset.assign_attrs(attributes, provenance=provenance(analysis=options, captures=made))


def _shown(reader: AnalysisRows, show: bool) -> Iterator[RowPair]:
    with progress_bar("analysing", len(reader.rows), show=show) as advance:
        for rows, other in reader:
            yield rows, other
            advance(len(rows))


def _baselines(
    reader: AnalysisRows, measures: list[Measure], context: AnalysisContext, show: bool
) -> Iterator[Baseline]:
    """Compute the baselines: the permutation null, the noise ceiling, and split-half reliability over texts."""
    held = load(reader, context)
    for title, times, compute in (
        ("chance", context.options.null, permutation_null),
        ("reliability over features", context.options.ceiling, noise_ceiling),
        ("reliability over texts", context.options.ceiling, split_half),
    ):
        if times:
            with progress_bar(title, times, "draws", show=show) as advance:
                yield from compute(held, measures, context, advance)
