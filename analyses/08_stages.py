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
# # Fig. 15: skip against middle repeat, stage by stage
#
# Leaving the middle blocks out harms less than running the middle block in place of each. The paper's Fig. 15 asks why,
# for Llama2-7B with N = 13 of 32 (five blocks affected): repeated, the states drift away and their variance grows
# without bound in the last two layers; skipped, they keep the pattern of the full model.
#
# Here N = 12 of 30, five blocks again, 13 to 17. Similarities are from captures under each schedule (`smollm2-skip.nc`,
# `smollm2-middle_repeat.nc`), drift and variance from every stage of the sweep (`sweep.nc`), which leaves the first
# token out. Variance is not defined in the paper; here it is that over tokens, mean over features.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from shelf import Findings, keep, keep_table, made, say

NAME = "08_stages"
found = Findings(NAME)
sweep = ls.open_sweep(made("sweep.nc"))
captures = {
    "identity": "smollm2.nc",
    "skip": "smollm2-skip.nc",
    "middle_repeat": "smollm2-middle_repeat.nc",
}
analyses = {name: xr.open_dataset(made(file), engine="h5netcdf") for name, file in captures.items()}
start = int(analyses["skip"].attrs["schedule"].split(":")[1])
say(f"{sweep.attrs['model']}, N = {start}.")

# %% [markdown]
# ## Similarity between the stages
#
# Per token, so that each token counts alike; first the full model, then without the five blocks, then with block 15 in
# place of each.

# %%
keep(ls.figures.heatmap(analyses["identity"]["cosine"]), NAME + "-full")

# %%
keep(ls.figures.heatmap(analyses["skip"]["cosine"]), NAME + "-skip")

# %%
keep(ls.figures.heatmap(analyses["middle_repeat"]["cosine"]), NAME + "-middle_repeat")

# %% [markdown]
# ## Variance and drift after each stage
#
# Stages are drawn at the state of the full model that they are held against, so that what runs before and after the
# affected blocks stands at the same place. The figure is of the first task, the numbers are medians over tasks.

# %%
specs = [f"skip:{start}", f"middle_repeat:{start}"]
keep(ls.figures.stages(sweep, specs), NAME)

# %%
rows = []
for spec in ("identity", *specs):
    run = int(np.flatnonzero(sweep.schedule.values == spec)[0])
    one = sweep.isel(run=run, stage=slice(int(sweep.stages[run])))
    middle = one[["variance_stage", "drift_cosine_stage", "drift_norm_stage"]].median("task").to_dataframe()
    name = spec.split(":")[0]
    rows.append(middle.assign(variant=name, state=one.reference_state.values, stage=np.arange(1, len(middle) + 1)))
stages = pd.concat(rows)[["variant", "stage", "state", "variance_stage", "drift_cosine_stage", "drift_norm_stage"]]
keep_table(stages.set_index(["variant", "stage"]), NAME)

# %%
last = stages.groupby("variant").last()
ratio = {name: last.variance_stage[name] / last.variance_stage["identity"] for name in ("skip", "middle_repeat")}
at = stages.set_index(["variant", "state"]).variance_stage
most = (at["middle_repeat"] / at["identity"]).max()
growth = {name: line.variance_stage.iloc[-1] / line.variance_stage.iloc[-3] for name, line in stages.groupby("variant")}
say(
    f"At the end the drift is {found.add('drift_skip', last.drift_cosine_stage['skip'])} (skip) and",
    f"{found.add('drift_middle_repeat', last.drift_cosine_stage['middle_repeat'])} (middle repeat); the variance is",
    f"{found.add('variance_skip', ratio['skip'])} and {found.add('variance_middle_repeat', ratio['middle_repeat'])} times",
    "that of the full model. Where the block is repeated it is up to",
    f"{found.add('variance_middle_repeat_most', most)} times that.",
    f"Over the last two blocks it grows {found.add('growth_full', growth['identity'])} times in the full model,",
    f"{found.add('growth_skip', growth['skip'])} times with skip and",
    f"{found.add('growth_middle_repeat', growth['middle_repeat'])} times with middle repeat.",
)

# %% [markdown]
# ## How like the full model's is the pattern?
#
# The correlation of the two similarity matrices over the stages that both have, the affected ones left out.

# %%
depth = int(sweep.attrs["num_blocks"])
kept = np.array([state for state in range(depth + 1) if state <= start + 1 or state >= depth - start])
full = analyses["identity"]["cosine"].sel(layer=kept, layer_other=kept).values
for name in ("skip", "middle_repeat"):
    matrix = analyses[name]["cosine"].values
    ending = len(matrix) - (depth - kept[kept >= depth - start]) - 1
    places = np.concatenate([kept[kept <= start + 1], ending])
    pairs = np.triu_indices(len(places), 1)
    alike = np.corrcoef(matrix[np.ix_(places, places)][pairs], full[pairs])[0, 1]
    say(f"{name}: {found.add(f'pattern_{name}', alike)}.")

# %% [markdown]
# ## What it says, on the built-in tasks
#
# Skip keeps the pattern: what comes after the gap is nearly what the full model has there, at a small drift that the
# later blocks make smaller. Middle repeat drifts four times as far, and away from the very first repetition; there the
# paper's picture is found again. Its variance explodes too, but **not in the last two layers**: it grows within the
# repeated stages, where the same block writes the same directions again and again, and the rest of this model brings it
# back to normal. Harm follows the drift, not the variance at the end.
