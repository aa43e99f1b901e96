"""How alike layers are, and what each layer is like.

A measure is a record (`catalogue`) plus an estimator in one of the families. The rooms, each importing only from those above it
(`make lint` checks)::

    kernels         functions on plain arrays
    records         what is known of each measure before it is computed, a module a subject
    accumulators    what is taken from token rows as they go by: update, merge
    comparisons     the matrices of measures that need the tokens themselves
    families        the estimators: accumulators, each computing the measures that share its sums
    passes          rows read, paired, passed by the families, and measured again by chance and by halves

Outside the rooms is what is looked for first, and what all rooms share::

    record, catalogue    what a record says; the one table of measures
    study                what an analysis knows before its first row, and what an estimator gives back
    crew                 threads
    derived, files       names of what stands beside a measure; result files
    labelling            the one place where arrays become labelled arrays
    analysis             the front door: of captures; `questions` asks it in one word
    statistics           the same of rows that go by once; `model_analysis` lets a model's

Measures know token rows; they must not know models, texts or how a capture is stored.
"""

from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES, find_measures
from layerscope.measures.record import Invariance, Kind, Measure

__all__ = ["DEFAULT_MEASURES", "MEASURES", "Invariance", "Kind", "Measure", "find_measures"]
