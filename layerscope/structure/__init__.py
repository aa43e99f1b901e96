"""Beginning, middle and ending: where along the depth of a model its layers stop being alike.

- `layerscope.structure.segmentation`: `segment`, the exact best partition, and its result, `Segmentation`.
- `layerscope.structure.clustering`: the same question put to scikit-learn, and how far the two answers agree.
- `layerscope.structure.selection`: the matrix of one measure out of an analysis, distances turned into similarities.
- `layerscope.structure.choice` and `layerscope.structure.partition`: the number of segments, and the search.

Nothing here knows models, captures or figures: a matrix goes in.
"""
