"""How alike layers are, and what each layer is like.

A measure is a record (`catalogue`) plus an estimator in one of the families: `products` (cosines, norms), `moments`
(variance, centred cosine), `alignment` (CKA), `covariance` (Procrustes, spectra, biased CKA) and `sampled` (pairs of layers by
ranks, neighbours, distances, singular vectors). A family is an accumulator: it takes token rows in any order and chunking,
merges with others of its kind, and at the end gives arrays.
`labelling` lifts the arrays to xarray, `analysis` is the front door.

Measures know token rows; they must not know models, texts or how a capture is stored.
"""

from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES, find_measures
from layerscope.measures.record import Invariance, Kind, Measure

__all__ = ["DEFAULT_MEASURES", "MEASURES", "Invariance", "Kind", "Measure", "find_measures"]
