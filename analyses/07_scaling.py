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
# # Fig. 14: beginning, middle and ending layers across scales
#
# **Claims of the paper.** From heatmaps of the ten Pythia models: the ending is always exactly one layer, and the
# proportion of beginning layers falls with size.
#
# **Measured.** The best cut of each similarity matrix into three segments, for two groups of models: three real ones
# of three families, and four small ones of one family that differ in depth alone ([train_family.py](train_family.py)).
#
# **Answer, on the built-in texts.** No measure finds "always one layer"; the proportion falls by some measures, and
# shows little about size.
#
# Data: `models.nc` and `family.nc` of [results.mk](results.mk), made by `layerscope scaling` from analyses with all
# tokens and without the first of each text, with 200 draws of texts. [Across scales](../docs/scaling.md) describes the
# method.
#
# The commands below do the same for the ten Pythia models. None of them was run here. Up to 410M, with the states on
# disk:
#
# ```sh
# for size in 14m 31m 70m 160m 410m; do
#     layerscope capture EleutherAI/pythia-$size --texts hf:EleutherAI/lambada_openai/test --limit 1000 \
#         --store-dtype bfloat16 --output $size.h5
#     for first in 0 1; do
#         layerscope analyze $size.h5 --bootstrap 200 --exclude-first $first --output pythia-$size-$first.nc
#     done
# done
# ```
#
# Larger models, measured while the model runs:
#
# ```sh
# for size in 1b 1.4b 2.8b 6.9b 12b; do
#     for first in 0 1; do
#         layerscope analyze EleutherAI/pythia-$size --texts hf:EleutherAI/lambada_openai/test --limit 1000 \
#             --dtype bfloat16 --bootstrap 200 --exclude-first $first --output pythia-$size-$first.nc
#     done
# done
# layerscope scaling pythia-*-[01].nc --output pythia.nc
# ```

# %%
import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from notebook_io import Findings, keep, keep_table, result_path, model_name, display_text

NAME = "07_scaling"
findings = Findings(NAME)
groups = {name: xr.open_dataset(result_path(f"{name}.nc"), engine="h5netcdf") for name in ("models", "family")}
groups["models"]

# %% [markdown]
# ## Three real models
#
# The paper's measure, with all tokens:


# %%
def figure(group: str):
    """Draw the models of a group."""
    dataset = groups[group].assign_coords(model=[model_name(str(model)) for model in groups[group].model.values])
    return keep(ls.figures.scaling(dataset, "cosine_sequence"), f"{NAME}-{group}")


figure("models")

# %% [markdown]
# ## One family that differs in depth

# %%
figure("family")

# %% [markdown]
# ## Segment sizes and claims, by every measure
#
# Sizes are beginning, middle, ending, in states, with the 95 % interval where draws of texts differ. A claim *holds*
# or *fails* if 95 % of the draws agree and no single model decides it; otherwise it is *undecided*.

# %%
CLAIMS = {"ending_is_one_layer": "ending is one layer", "beginning_proportion_falls": "beginning share falls"}


def sizes(one: xr.Dataset) -> str:
    """Return the sizes of a model's segments by one measure, as text."""
    ends = zip(one["size"].values, one.size_low.values, one.size_high.values, strict=True)
    return ", ".join(f"{size:.0f}" if low == high else f"{size:.0f} [{low:.0f}–{high:.0f}]" for size, low, high in ends)


tables = {}
for group, dataset in groups.items():
    rows = []
    for reading in range(dataset.sizes["reading"]):
        one = dataset.isel(reading=reading)
        row = {"measure": str(one.measure.values), "first token": "out" if int(one.excluded_first) else "in"}
        row |= {str(model): sizes(one.sel(model=model)) for model in dataset.model.values}
        row |= {words: str(one.verdict.sel(claim=claim).values) for claim, words in CLAIMS.items()}
        rows.append(row)
    tables[group] = pd.DataFrame(rows).set_index(["measure", "first token"])
keep_table(pd.concat({group: table.reset_index() for group, table in tables.items()}, names=["group", "row"]), NAME)
tables["models"]

# %%
tables["family"]

# %%
for group, dataset in groups.items():
    count = dataset.sizes["reading"]
    sentences = []
    for claim, words in CLAIMS.items():
        verdicts = dataset.verdict.sel(claim=claim).values.astype(str)
        numbers = {word: int((verdicts == word).sum()) for word in ("holds", "fails", "undecided")}
        for word, number in numbers.items():
            findings.add(f"{group}_{claim}_{word}", number)
        sentences.append(f"*{words}* " + ", ".join(f"{word} in {number}" for word, number in numbers.items() if number))
    display_text(f"**{group}**, of {count} readings: " + "; ".join(sentences) + ".")
    findings.add(f"{group}_readings", count)
    paper = dataset.isel(
        reading=int(((dataset.measure == "cosine_sequence") & (dataset.excluded_first == 0)).argmax("reading"))
    )
    for model in dataset.model.values:
        for segment in ("beginning", "ending"):
            one = paper.sel(model=model, segment=segment)
            findings.add(f"{group}_{model}_{segment}", one["size"], one.size_low, one.size_high)
    findings.add(
        f"{group}_beginning_trend", paper.beginning_trend, paper.beginning_trend_low, paper.beginning_trend_high
    )

# %% [markdown]
# ## What the cut finds in a matrix without features
#
# A cut into three always puts its borders somewhere. Here each similarity is replaced by the mean over all layers at
# the same distance, the embedding separately. What remains is a drift with no borders inside. If the sizes do not
# change, they only show that layers drift apart.


# %%
def featureless(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix of the means over all layers at the same distance, the embedding separately."""
    states = len(matrix)
    distance = np.abs(np.subtract.outer(np.arange(states), np.arange(states)))
    inner, smooth = distance[1:, 1:], np.full_like(matrix, matrix[0, 1:].mean(), dtype=np.float64)
    means = np.array([matrix[1:, 1:][inner == apart].mean() for apart in range(states - 1)])
    smooth[1:, 1:], smooth[0, 0] = means[inner], matrix[0, 0]
    return smooth


rows = {}
for group, dataset in groups.items():
    near = []
    for reading in np.flatnonzero(dataset.excluded_first.values == 0):
        for model in dataset.model.values:
            one = dataset.isel(reading=reading).sel(model=model)
            matrix = one.similarity.values[: int(one.states), : int(one.states)].astype(np.float64)
            null, cut = ls.segment(featureless(matrix)).sizes, tuple(map(int, one["size"].values))
            near.append(max(abs(size - other) for size, other in zip(null, cut, strict=True)) <= 1)
            rows.setdefault(model, {})[str(one.measure.values)] = f"{cut}, featureless {null}"
    alike, tried = findings.add(f"{group}_featureless", sum(near)), findings.add(f"{group}_tried", len(near))
    display_text(f"**{group}**: the same sizes within one state in {alike} of {tried}.")
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Result on the built-in texts
#
# **"The ending is always exactly one layer" is not found**, by any measure in either group. The encoder, MiniLM, has
# one ending state by every measure; the two decoders have from two to twenty.
#
# This is no refutation. The paper's "one" was read by eye. In the trained family similarity only drifts, and the sizes
# are those of a featureless matrix, so its borders mean little; those of the real models are not. The measures are few
# and not independent, and an interval over models cannot be computed from three or four.
#
# **"The proportion of beginning layers falls with size" holds in part and means little.** By the cosines the beginning
# of this family is the embedding alone at every depth, so its share falls because one layer is a smaller part of more.
# By CKA it does not fall. The three real models differ in family, and an encoder among them makes most of the trend.
#
# The measure decides more than the size does. Where there is a sink (SmolLM2), so does the first token.
#
# The family here learned from the built-in passages; [Across scales](../docs/scaling.md) has one trained on
# WikiText-2.
