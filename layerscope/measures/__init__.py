"""Measure the similarity of layers, and properties of each layer.

A measure is a record (`catalogue`) plus an entry in the table of an estimator. The packages, each importing only from those
above it (`make lint` checks)::

    kernels         formulas: functions of plain arrays
    records         definition, range, cost and source of each measure, one module per subject
    accumulators    sums and samples of token rows: update, merge
    comparisons     matrices of measures that need all tokens at once
    estimators      accumulators that compute the measures which share their sums
    passes          rows read, paired and passed to the estimators; the baselines

The modules, in the order in which a reader needs them::

    record, catalogue    the fields of a record; the table of all measures
    context, estimate    what an analysis knows before its first row; what an estimator returns
    derived, coverage    names of the variables that accompany a measure; coverage of its intervals
    dataset              estimates as a labelled Dataset
    analysis             `analyze`; `shortcuts` are its one-line forms
    streaming            an analysis of rows that are seen once; `model_analysis` feeds it from a model

Measures work on token rows. They do not import models, texts or the storage of captures.
"""

from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES, find_measures
from layerscope.measures.record import Invariance, Kind, Measure

__all__ = ["DEFAULT_MEASURES", "MEASURES", "Invariance", "Kind", "Measure", "find_measures"]
