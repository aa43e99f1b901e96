"""Find where the layers of a model divide into segments, such as beginning, middle and ending.

- `layerscope.segmentation.segmentation`: `segment`, the best partition, and its result, `Segmentation`.
- `layerscope.segmentation.analysis_matrices`: read the matrices of measures from an analysis.
- `layerscope.segmentation.similarity`: the matrix of one measure as a similarity, whether the measure is one or a distance.
- `layerscope.segmentation.partition`: the exact search.
- `layerscope.segmentation.segment_count`: how many segments a matrix supports.
- `layerscope.segmentation.stability`: where the boundaries fall in bootstrap replicates.
- `layerscope.segmentation.clustering`: agglomerative clustering, as a cross-check.

The package works on matrices and analyses. It does not import models, captures or figures.
"""
