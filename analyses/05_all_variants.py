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
# # Fig. 11: what each variant costs, all tasks together
#
# Six ways to run the middle of a model otherwise, against the number of blocks they affect: the median over tasks of
# the normalised score, 0 for guessing and 1 for the full model, as in the paper's Fig. 11. The paper names, for
# Llama2-7B, from worst to least harm: middle repeat by far, skip, parallel, reverse, random, and parallel run three
# times.
#
# The results are `sweep.nc` of [results.mk](results.mk): `layerscope sweep` over the tasks with all variants from all
# starts. 36 examples a task and 5 shuffles where the paper has 10, so that all of it is read in half an hour. Tasks on
# which the full model is no better than guessing cannot be normalised (its interval has to lie above chance) and are
# left out here.

# %%
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import kendalltau, rankdata

import layerscope as ls
from resampling import better_than_guessing, bounds, known_median, one_number, replicates
from shelf import Findings, keep, keep_table, made, say

NAME = "05_all_variants"
sweep = ls.open_sweep(made("sweep.nc"))
tasks, found = better_than_guessing(sweep), Findings(NAME)
say(f"{sweep.attrs['model']}, {sweep.attrs['num_blocks']} blocks; tasks: {', '.join(tasks)}.")

# %% [markdown]
# ## The median, with intervals
#
# All runs are resampled over the same draws of examples, the median is taken in each draw, and the bars are the middle
# 95 % of those medians.

# %%
RUNS = ["schedule", "variant", "start", "seed", "loops", "affected", "stages"]
again, middle = {}, {}
for quantity in ("normalized", "loss_difference"):
    again[quantity] = known_median([replicates(sweep, task)[quantity] for task in tasks], axis=0)
    middle[quantity] = sweep[quantity].sel(task=tasks).median("task").values
columns = {}
for quantity, values in middle.items():
    low, high = bounds(again[quantity])
    columns |= {quantity: values, f"{quantity}_low": low, f"{quantity}_high": high}
median = xr.Dataset(
    {name: (("task", "run"), values[None]) for name, values in columns.items()},
    coords={"task": ["median"]} | {name: sweep[name] for name in RUNS},
)
keep_table(median.sel(task="median").to_dataframe()[[*RUNS, *columns]], NAME)
keep(ls.figures.sweep(median, "normalized"), NAME)

# %% [markdown]
# The score of a small model falls to chance within a few blocks, and there it says no more. The loss goes on telling
# the variants apart: nats a token beyond those of the full model, on the same examples.

# %%
keep(ls.figures.sweep(median, "loss_difference"), NAME + "-loss")

# %% [markdown]
# ## Which harms most?
#
# At each start with three blocks or more (with one, four of the six are the full model) the variants are ranked by
# loss, 1 for the least harm; `random` counts with the mean of its shuffles. Below is the mean rank over starts, over
# the starts that leave at least half of the blocks as they are, and over all. Intervals are from the same draws of
# examples.

# %%
PAPER = ["looped_parallel", "random", "reverse", "parallel", "skip", "middle_repeat"]  # from least to most harm
affected = sweep.affected.values


def by_variant(loss: np.ndarray, count: int) -> np.ndarray:
    """Return the loss of each variant at one M, seeds averaged: [..., variant]."""
    return np.stack(
        [loss[..., (sweep.variant.values == name) & (affected == count)].mean(-1) for name in PAPER], axis=-1
    )


def mean_ranks(loss: np.ndarray, most: float) -> np.ndarray:
    """Return each variant's rank, averaged over starts: [..., variant]."""
    counts = [count for count in sorted(set(affected[sweep.variant.values == "skip"])) if 3 <= count <= most]
    return np.mean([rankdata(by_variant(loss, count), axis=-1) for count in counts], axis=0)


rows = {}
for words, most in (("half", sweep.attrs["num_blocks"] / 2), ("all", np.inf)):
    value, repeated = (mean_ranks(losses["loss_difference"], most) for losses in (middle, again))
    for number, name in enumerate(PAPER):
        rows.setdefault(name, {})[words] = found.add(
            f"rank_{words}_{name}", *one_number(value[number], repeated[:, number])
        )
    tau = np.array([kendalltau(line, np.arange(6)).statistic for line in (value, *repeated)])
    rows.setdefault("tau with the paper's order", {})[words] = found.add(f"tau_{words}", *one_number(tau[0], tau[1:]))
pd.DataFrame.from_dict(rows, orient="index")

# %%
order = [PAPER[number] for number in np.argsort(mean_ranks(middle["loss_difference"], sweep.attrs["num_blocks"] / 2))]
say(
    "From least to most harm, up to half of the blocks: **" + ", ".join(order) + "**.",
    f"The paper has {', '.join(PAPER)}.",
)

# %% [markdown]
# ## What it says, on the built-in tasks
#
# The two ends are the paper's: running the parallel blocks three times harms least, and one block in place of all
# others harms most, by far and at every start. Between them the order is another. The paper puts reverse and random
# below parallel in harm; here parallel is the milder one from five blocks on, and from nine blocks on reversing or
# shuffling breaks the model at once. What "the middle layers share a representation space" predicts, that order should
# matter little, holds for up to seven middle blocks of this model and not beyond. A model of 30 narrow blocks has less
# middle than one of 32 wide ones.
