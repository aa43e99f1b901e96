# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Open a capture
#
# A capture is an HDF5 file that xarray opens without help. This notebook opens one without LayerScope, slices it, computes
# a similarity by hand, then lets LayerScope do the same, and draws it.
#
# It reads `run.h5` of the demo (`make demo`), or the file in `LAYERSCOPE_RUN`.

# %%
import os
from pathlib import Path

import numpy as np
import xarray as xr

here = Path.cwd()
root = here if (here / "cache").is_dir() else here.parent
run = Path(os.environ.get("LAYERSCOPE_RUN", root / "cache" / "demo" / "run.h5"))

# %% [markdown]
# ## With xarray alone
#
# `hidden` has three named dimensions: one row a token, one entry a layer (layer 0 is the embedding's output, layer *l*
# what block *l*-1 passed on), one a feature. Nothing is read until it is needed.

# %%
ds = xr.open_dataset(run, engine="h5netcdf")
ds

# %% [markdown]
# Every row knows its text, its place in the text, and its token. Here are the first text's tokens, and how long their
# states are at three depths.

# %%
first = ds.isel(token=ds.sequence_index.values == 0)
depth = int(ds.attrs["num_blocks"])
lengths = np.sqrt((first.hidden.sel(layer=[0, depth // 2, depth]) ** 2).sum("feature"))
lengths.isel(token=slice(0, 6)).round(1).to_pandas()

# %% [markdown]
# The first token of a text is an outlier in the middle of the model: its state is many times longer than the others'. Such
# *massive activations* own every similarity that adds up over tokens before it divides. Keep them in mind below.

# %% [markdown]
# ## A similarity by hand
#
# The mean over tokens of the cosine between the states of two layers, here over the first twenty texts.

# %%
some = ds.isel(token=ds.sequence_index.values < 20)
states = some.hidden.values.astype(np.float64)
unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
by_hand = np.einsum("tlf,tmf->lm", unit, unit) / len(unit)

# %% [markdown]
# And the measure of the paper: each text flattened to one long vector before the cosine is taken.

# %%
flattened = np.zeros_like(by_hand)
for _, rows in some.groupby("sequence_index"):
    vectors = (
        rows.hidden.transpose("layer", "token", "feature").values.reshape(ds.sizes["layer"], -1).astype(np.float64)
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flattened += vectors @ vectors.T / 20

# %% [markdown]
# ## With LayerScope
#
# `analyze` takes a Dataset directly, so the same twenty texts go in. (Given the path instead, it reads the
# file itself.)

# %%
import layerscope as ls

result = ls.analyze(some, measures=["cosine", "cosine_sequence"])
print("largest difference, per token:   ", float(abs(result.cosine - by_hand).max()))
print("largest difference, per sequence:", float(abs(result.cosine_sequence - flattened).max()))
assert np.allclose(result.cosine, by_hand, atol=1e-5)
assert np.allclose(result.cosine_sequence, flattened, atol=1e-5)

# %% [markdown]
# It also warns of misleading numbers:

# %%
print(result.attrs["massive_warning"])

# %% [markdown]
# ## Draw it
#
# Per token, each token counts alike. The best cut into three contiguous segments is drawn on top.

# %%
segments = ls.segment(result["cosine"])
print(dict(zip(segments.labels, segments.sizes, strict=True)))
ls.figures.heatmap(result["cosine"], segments=segments)

# %% [markdown]
# Per sequence, as in the paper, the block in the middle is that of the massive first token. The two figures answer
# different questions; the second one mostly shows where that one token is large.

# %%
ls.figures.heatmap(result["cosine_sequence"], segments=ls.segment(result["cosine_sequence"]))
