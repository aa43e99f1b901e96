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
# # Fig. 12: skipping in percent, across model sizes
#
# The paper skips the middle of Llama2-7B, 13B and 70B (32, 40 and 80 blocks) and finds that they degrade alike once the
# number of skipped blocks is a **percentage** of all. Is it so among models that fit here? Two real ones, SmolLM2-135M
# (30 blocks) and Gemma 3 270M (18), differ in everything; four small ones, trained on the spot by
# [train_family.py](train_family.py), differ in depth alone, which is the cleaner test.
#
# `sweep.nc`, `gemma3-sweep.nc` and `depth-*-sweep.nc` of [results.mk](results.mk). Where scores are at chance the loss
# goes on telling models apart, so both are shown. For the paper's own sizes the commands are these; none was run here:
#
# ```sh
# for size in 7b 13b 70b; do
#     layerscope sweep meta-llama/Llama-2-$size-hf --task lm-eval:lambada_openai --task lm-eval:arc_challenge \
#         --task lm-eval:hellaswag --task lm-eval:winogrande --variants skip --dtype bfloat16 --device cuda \
#         --resume --output llama2-$size.nc
# done
# ```

# %%
import itertools

import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from layerscope.figures.marks import task_looks
from resampling import better_than_guessing, bounds, known_median, one_number, replicates
from shelf import Findings, MADE, axes_for, keep, keep_table, made, say

NAME = "06_percent"
found = Findings(NAME)
REAL = [ls.open_sweep(made(name)) for name in ("sweep.nc", "gemma3-sweep.nc")]
FAMILY = [ls.open_sweep(path) for path in sorted(MADE.glob("depth-*-sweep.nc"))]
first, second = (better_than_guessing(sweep) for sweep in REAL)
shared = [task for task in first if task in second] or first
say("Real models, tasks on which both are better than guessing:", ", ".join(shared) + ".")


def curve(sweep: xr.Dataset, tasks: list[str], quantity: str) -> pd.DataFrame:
    """Return the median over tasks under skip, run by run, and its replicates."""
    runs = np.flatnonzero(sweep.variant.values == "skip")
    runs = np.concatenate([[0], runs[np.argsort(sweep.affected.values[runs])]])
    again = known_median([replicates(sweep, task)[quantity] for task in tasks], axis=0)[:, runs]
    low, high = bounds(again)
    value = sweep[quantity].sel(task=tasks).median("task").values[runs]
    whole = pd.DataFrame({"affected": sweep.affected.values[runs], quantity: value, "low": low, "high": high})
    whole["percent"] = 100 * whole.affected / sweep.attrs["num_blocks"]
    return pd.concat([whole, pd.DataFrame(again.T, columns=[f"draw {n}" for n in range(len(again))])], axis=1)


curves = {}
for quantity in ("normalized", "loss_difference"):
    for sweep in REAL:
        curves["real", quantity, sweep.attrs["model"].split(".")[0]] = curve(sweep, shared, quantity)
for sweep in FAMILY:
    tasks = [str(task) for task in sweep.task.values]
    curves["family", "loss_difference", sweep.attrs["model"]] = curve(sweep, tasks, "loss_difference")
kept = ["affected", "percent", "value", "low", "high"]
keep_table(
    pd.concat(
        {key: one.rename(columns={key[1]: "value"})[kept] for key, one in curves.items()},
        names=["group", "quantity", "model", "run"],
    ),
    NAME,
)

# %%
LABEL = {"normalized": "score (0: chance, 1: full model)", "loss_difference": "loss increase (nats per token)"}


def draw(group: str, quantity: str, along: str, across: str, name: str):
    """Draw the models of a group beside each other."""
    own = {model: one for (where, what, model), one in curves.items() if (where, what) == (group, quantity)}
    with axes_for(height=2.2) as (figure, axes):
        for (model, one), look in zip(own.items(), task_looks(list(own)).values(), strict=True):
            axes.plot(one[along], one[quantity], color=look.colour, marker=look.marker, label=model)
            axes.fill_between(one[along], one.low, one.high, color=look.colour, alpha=0.15, linewidth=0)
        axes.axhline(float(quantity == "normalized"), color="black", linestyle="--", linewidth=0.6)
        axes.set(xlabel=across, ylabel=LABEL[quantity], xlim=(0, None))
    return keep(figure, name)


draw("real", "normalized", "percent", "blocks skipped (percent)", NAME)

# %%
draw("real", "loss_difference", "percent", "blocks skipped (percent)", NAME + "-loss")

# %% [markdown]
# The family, which differs in depth alone: in percent, and beside it by number of blocks.

# %%
draw("family", "loss_difference", "percent", "blocks skipped (percent)", NAME + "-family")

# %%
draw("family", "loss_difference", "affected", "blocks skipped", NAME + "-family-count")

# %% [markdown]
# ## How much of the difference goes when counted in percent?
#
# The gap between two models is the mean distance of their curves over the range that both have, as a part of the mean
# height there; averaged over pairs. If percent is what counts, the gap is small in percent and large by number.

# %%
GRID = 50


def gap(group: str, quantity: str, along: str, column: str) -> float:
    """Return the mean gap over pairs of models, by percent or by number."""
    own = [one for (where, what, _), one in curves.items() if (where, what) == (group, quantity)]
    gaps = []
    for one, other in itertools.combinations(own, 2):
        places = np.linspace(0, min(one[along].max(), other[along].max()), GRID)
        pair = np.array([np.interp(places, curve[along], curve[column]) for curve in (one, other)])
        gaps.append(np.abs(pair[0] - pair[1]).mean() / max(np.abs(pair).mean(), 1e-9))
    return float(np.mean(gaps))


draws, rows = (
    [name for name in curves["real", "normalized", REAL[0].attrs["model"].split(".")[0]] if "draw" in name],
    {},
)
for group, quantity in (("real", "normalized"), ("real", "loss_difference"), ("family", "loss_difference")):
    for along in ("percent", "affected"):
        again = np.array([gap(group, quantity, along, name) for name in draws[:300]])
        rows.setdefault((group, quantity), {})[along] = found.add(
            f"gap_{group}_{quantity}_{along}", *one_number(gap(group, quantity, along, quantity), again)
        )
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## What it says, on the built-in tasks
#
# **Within a family, yes.** Four models that differ in depth alone lose about the same when the same part of them is
# left out, and their curves lie three times farther apart when blocks are counted by number; the deeper ones lose a
# little more at the same percentage. **Across families, no.** Percent brings SmolLM2 and Gemma 3 nearer than numbers
# do, but Gemma loses more at every percentage, and two scores that soon lie at chance say little either way. That the
# three Llamas of the paper agree is what the family shows in small; it is no law for models of different make.
