"""Compare several models or checkpoints: segments across scales, matching layers, and layers over training.

- `layerscope.cross_model.scaling`: `scaling`, the segments of models of different sizes. `scaling_inputs` selects the
  matrices, `scaling_fits` fits the curves, `paper_claims` tests the paper's claims, `scaling_dataset` assembles the
  result and `scaling_report` prints it.
- `layerscope.cross_model.layer_matching`: `best_match`, the layer of the other model that each layer resembles most.
- `layerscope.cross_model.training`: `over_training`, each layer compared with itself at other training steps.
"""
