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
# A capture is an HDF5 file that xarray opens without LayerScope. This notebook shows how to:
#
# - open one and read a slice of it;
# - compute a similarity by hand, then the same with LayerScope;
# - draw the result.
#
# It reads `run.h5` of the demo (`make demo`), or the file that `LAYERSCOPE_RUN` names.

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
# `hidden` has three dimensions: token, layer and feature. Layer 0 is the output of the embedding, layer *l* the output
# of block *l*-1. xarray reads values only when they are used.

# %%
ds = xr.open_dataset(run, engine="h5netcdf")
ds

# %% [markdown]
# Each row has its text, its position in the text, and its token. The table shows the first tokens of the first text
# and the length of their states at three depths.

# %%
first = ds.isel(token=ds.sequence_index.values == 0)
depth = int(ds.attrs["num_blocks"])
lengths = np.sqrt((first.hidden.sel(layer=[0, depth // 2, depth]) ** 2).sum("feature"))
lengths.isel(token=slice(0, 6)).round(1).to_pandas()

# %% [markdown]
# The first token of a text is an outlier in the middle of the model: its state is many times longer than the others.
# Such *massive activations* dominate every similarity that sums over tokens before it normalises.

# %% [markdown]
# ## A similarity by hand
#
# The cosine between the states of two layers, averaged over the tokens of the first twenty texts.

# %%
some = ds.isel(token=ds.sequence_index.values < 20)
states = some.hidden.values.astype(np.float64)
unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
by_hand = np.einsum("tlf,tmf->lm", unit, unit) / len(unit)

# %% [markdown]
# The paper's measure flattens each text to one long vector before it takes the cosine.

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
# `analyze` accepts a Dataset, so it can use the same twenty texts. Given a path, it reads the file itself.

# %%
import layerscope as ls

result = ls.analyze(some, measures=["cosine", "cosine_sequence"])
print("largest difference, per token:   ", float(abs(result.cosine - by_hand).max()))
print("largest difference, per sequence:", float(abs(result.cosine_sequence - flattened).max()))
assert np.allclose(result.cosine, by_hand, atol=1e-5)
assert np.allclose(result.cosine_sequence, flattened, atol=1e-5)

# %% [markdown]
# The result includes a warning about massive activations:

# %%
print(result.attrs["massive_warning"])

# %% [markdown]
# ## Draw it
#
# Per token, every token has the same weight. The boxes show the best cut into three contiguous segments.

# %%
segments = ls.segment(result["cosine"])
print(dict(zip(segments.labels, segments.sizes, strict=True)))
ls.figures.heatmap(result["cosine"], segments=segments)

# %% [markdown]
# Per sequence, as in the paper, the block in the middle is due to the massive first token. The two figures answer
# different questions: the second one mostly shows where that token is large.

# %%
ls.figures.heatmap(result["cosine_sequence"], segments=ls.segment(result["cosine_sequence"]))
