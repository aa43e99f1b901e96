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
# # Fig. 3 and the sink: which part of "the middle layers are alike" is the first token?
#
# The paper's Fig. 3 is the cosine between the states of two layers, with **each text flattened to one vector** of
# tokens × features. Its blocks are the evidence for beginning, middle and ending layers that share a space within. A
# flattened cosine belongs to the few tokens of enormous norm, so here it stands beside measures in which they count
# less: each token by itself, the first token of each text left out, the mean taken away, and CKA.
#
# `smollm2.nc` and `smollm2-later.nc` of [results.mk](results.mk): 120 built-in passages (with benchmark files at hand,
# the first 100 of LAMBADA, the paper's own choice), all 31 states, intervals from 200 bootstrap draws of texts.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from shelf import Findings, axes_for, keep, keep_table, made, say

NAME = "02_similarity"
found = Findings(NAME)
every = xr.open_dataset(made("smollm2.nc"), engine="h5netcdf")
later = xr.open_dataset(made("smollm2-later.nc"), engine="h5netcdf")
say(f"{every.attrs['model']} on {every.attrs['texts']}, {every.cosine.attrs['tokens']} tokens.")
say(every.attrs["massive_warning"])

# %% [markdown]
# ## Where the sink is
#
# The largest absolute value of any token in each state, with the first token of each text and without.

# %%
largest = pd.DataFrame({"all tokens": every.max_abs.values, "first token left out": later.max_abs.values})
keep_table(largest.rename_axis("state"), NAME)
rises = np.diff(every.max_abs.values)
begin = int(np.argmax(rises)) + 1
end = int(np.flatnonzero(every.max_abs.values >= every.max_abs.values.max() / 2)[-1])
with axes_for(height=1.9) as (figure, axes):
    for look, name in zip(("-", "--"), largest, strict=True):
        axes.plot(largest[name], look, color="black", label=name)
    axes.set(yscale="log", xlabel="state", ylabel="largest |x|")
keep(figure, NAME + "-largest")

# %%
before, after = every.max_abs.values[begin - 1 : begin + 1]
without = later.max_abs.values[begin]
say(
    f"From state {begin - 1} to state {begin}, which is block {begin - 1}, the largest value jumps from",
    f"{found.add('largest_before', before)} to {found.add('largest_after', after)}; without first tokens it is",
    f"{found.add('largest_after_without_first', without)} there. It stays until state {end}.",
    f"All of it is feature {int(every.massive_feature[0])} of the token at position {every.attrs['massive_positions']}.",
)
found.add("begin", begin)
found.add("end", end)

# %% [markdown]
# ## The measures side by side
#
# With all tokens:

# %%
keep(ls.figures.panel(every), NAME + "-all")

# %% [markdown]
# Without the first token of each text:

# %%
keep(ls.figures.panel(later), NAME + "-later")

# %% [markdown]
# CKA, with it and without:

# %%
keep(ls.figures.heatmap(every["cka"], segments=ls.segment(every["cka"])), NAME + "-cka")

# %%
keep(ls.figures.heatmap(later["cka"], segments=ls.segment(later["cka"])), NAME + "-cka-later")

# %% [markdown]
# ## Which blocks survive?
#
# Two numbers say whether there is a sharp block: the similarity of its first state to the one before (a sharp edge is a
# low number), and of its first state to its last (a block that holds together is a high one).

# %%
MEASURES = ("cosine_sequence", "cosine", "cosine_centered", "cka")


def at(result: xr.Dataset, measure: str, one: int, other: int) -> tuple[float, float, float]:
    """Return a similarity with its interval."""
    names = (measure, f"{measure}_low", f"{measure}_high")
    return tuple(float(result[name].sel(layer=one, layer_other=other)) for name in names)


rows = {}
for measure in MEASURES:
    for words, result in (("all", every), ("later", later)):
        segments = ls.segment(result[measure])
        row = {
            "edge": found.add(f"{measure}_{words}_edge", *at(result, measure, begin - 1, begin)),
            "across": found.add(f"{measure}_{words}_across", *at(result, measure, begin, end)),
            "segments": " ".join(map(str, segments.sizes)),
            "within - between": found.add(f"{measure}_{words}_contrast", segments.score),
        }
        for label, size in zip(segments.labels, segments.sizes, strict=True):
            found.add(f"{measure}_{words}_{label}", size)
        rows[measure, words] = row
table = pd.DataFrame.from_dict(rows, orient="index")
table.index = [f"{measure}, {'all tokens' if words == 'all' else 'first left out'}" for measure, words in rows]
table.rename(columns={"edge": f"({begin - 1}, {begin})", "across": f"({begin}, {end})"})

# %% [markdown]
# ## What it says, on the built-in tasks
#
# The paper's measure shows a sharp block of states 12 to 28 whose two ends are alike to two digits: the picture of Fig.
# 3. **It is the first token.** Its edge is where block 11 writes one huge feature into that token, and the block ends
# where block 28 takes it out again. Leave out one token in fifty and the edge is gone: states 11 and 12 are as alike as
# any neighbours, and states 12 and 28 are strangers. Centring and CKA do not help while the token is in; they lean on
# it as much or more.
#
# What survives is what the cosine of single tokens says with and without it: state 0 stands alone, then everything
# changes slowly and steadily along the depth, with one step after state 24. The three classes of layers are there (one
# state, a long middle, six at the end), but the middle is a drift rather than a space that all its layers share. The
# flattened cosine without first tokens still has softer blocks, states 3 to 9 and 11 to 24, where other tokens carry
# large values; single tokens do not show them. The paper's picture of Llama2-7B, whose massive activations come at
# layer 2 and go at layer 30, has its block just there.
