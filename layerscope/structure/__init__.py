"""Beginning, middle and ending: where along the depth of a model its layers stop being alike.

- `layerscope.structure.segmentation`: `segment`, the exact best partition, and its result, `Segmentation`.
- `layerscope.structure.clustering`: the same question put to scikit-learn, and how far the two answers agree.
- `layerscope.structure.selection`: the matrix of one measure out of an analysis, distances turned into similarities.
- `layerscope.structure.choice`, `layerscope.structure.partition`, `layerscope.structure.stability`: the number of segments,
  the search, and where boundaries fall in bootstrap replicates.
- `layerscope.structure.scaling`: `scaling`, the segments of several models beside each other; what is compared is decided in
  `layerscope.structure.readings`, the answer given by `layerscope.structure.fits` and `layerscope.structure.claims`, laid
  out by `layerscope.structure.scaling_layout`.

Nothing here knows models, captures or figures: a matrix goes in.
"""
