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
# # Latency against score: what parallel and skip really save
#
# The paper counts: Parallel at N = 8 of 32 blocks takes 18 sequential steps in place of 32, "about half". Whether a
# step saved is time saved depends on the machine: a processor that one block keeps busy gains nothing from having
# several to do at once. Here the time is measured on the processor at hand, beside the score that it costs.
#
# Scores are those of `sweep.nc`; times those of `latency.nc` of [results.mk](results.mk), `layerscope sweep --latency`:
# one text at a time, schedules taken in turns, the least of several. Parallel stages are timed block by block and
# stacked, as one batched call, and the faster one counts.

# %%
import numpy as np
import pandas as pd
from scipy.stats import linregress

import layerscope as ls
from resampling import better_than_guessing, known_median, one_number, replicates
from shelf import Findings, keep, keep_table, made, say

NAME = "13_latency"
found = Findings(NAME)
sweep, timed = ls.open_sweep(made("sweep.nc")), ls.open_sweep(made("latency.nc"))
seconds = dict(zip(timed.schedule.values.astype(str), timed.seconds_per_token.values, strict=True))
stacked = dict(zip(timed.schedule.values.astype(str), timed.stacked.values, strict=True))
specs = sweep.schedule.values.astype(str)
both = sweep.isel(run=[number for number, spec in enumerate(specs) if spec in seconds])
both["seconds_per_token"] = ("run", [seconds[spec] for spec in both.schedule.values.astype(str)])
both["stacked"] = ("run", [stacked[spec] for spec in both.schedule.values.astype(str)])
tasks = better_than_guessing(both)
say(f"{sweep.attrs['model']}: {1e3 * float(both.seconds_per_token[0]):.2f} ms a token; tasks: {', '.join(tasks)}.")

# %%
keep(ls.figures.latency(both.sel(task=tasks), "normalized"), NAME)

# %%
keep(ls.figures.latency(both.sel(task=tasks), "loss_difference"), NAME + "-loss")

# %% [markdown]
# ## Time against steps
#
# Time a token as a part of the full model's, against sequential stages as a part of its blocks: a slope of 1 means that
# a stage saved is time saved.

# %%
own = ["variant", "start", "affected", "loops", "stages", "stacked", "seconds_per_token"]
table = both[own].to_dataframe().reset_index(drop=True)[own]
table["time"] = table.seconds_per_token / table.seconds_per_token[0]
table["steps"] = table.stages / table.stages[0]
for quantity in ("loss_difference", "normalized"):
    table[quantity] = both[quantity].sel(task=tasks).median("task").values
keep_table(table, NAME)
for variant in ("skip", "parallel", "looped_parallel"):
    line = linregress(*table[table.variant == variant][["steps", "time"]].to_numpy().T)
    wide = 1.96 * line.stderr
    slope = found.add(f"slope_{variant}", line.slope, line.slope - wide, line.slope + wide)
    say(f"**{variant}**: slope {slope}.")

# %%
half = table[(table.variant == "parallel")].iloc[(table[table.variant == "parallel"].steps - 0.5).abs().argmin() :][:1]
count = int(half.affected.iloc[0])
rows = table[(table.affected == count) & table.variant.isin(["parallel", "looped_parallel", "skip"])].set_index(
    "variant"
)
for name, row in rows.iterrows():
    found.add(f"steps_{name}", row.steps)
    found.add(f"time_{name}", row.time)
    found.add(f"loss_{name}", row.loss_difference)
say(f"Nearest to half of the steps, {count} blocks in parallel:")
rows[["stages", "steps", "time", "loss_difference", "normalized"]].round(2)

# %% [markdown]
# ## The same time, spent better
#
# For each parallel run: the skip run that is as fast or faster, and loses least. Positive: parallel loses more than
# skip would in the same time.

# %%
again = known_median([replicates(both, task)["loss_difference"] for task in tasks], axis=0)
runs = {name: np.flatnonzero(both.variant.values == name) for name in ("skip", "parallel")}
time, loss = both.seconds_per_token.values, table.loss_difference.to_numpy()
wide = runs["parallel"][(both.affected.values[runs["parallel"]] > 1)]
beyond = {}
for run in wide:
    faster = runs["skip"][time[runs["skip"]] <= max(time[run], time[runs["skip"]].min())]
    rival = faster[loss[faster].argmin()]
    apart = found.add(
        f"beyond_skip_{both.affected.values[run]}",
        *one_number(loss[run] - loss[rival], again[:, run] - again[:, rival]),
    )
    beyond[int(both.affected.values[run])] = {
        "loss beyond skip": apart,
        "blocks skipped": int(both.affected.values[rival]),
    }
pd.DataFrame.from_dict(beyond, orient="index").rename_axis("parallel blocks").sort_index()

# %% [markdown]
# ## What it says, on the built-in tasks
#
# Counted, parallel is the better bargain the paper makes of it: at the same number of stages it scores about as skip
# does or better. **Measured on two cores, it saves nothing**: its time goes with blocks run, not with stages, so half
# of the steps take the whole of the time, and three passes take two to three times as long. Skip saves what it leaves
# out, to the percent. In no case does parallel beat a skip that takes as long. The gain that the paper counts needs a
# processor with room for several blocks at once; 64 tokens of a model this small already fill two cores. How to
# measure on your own machine: `layerscope sweep … --latency --device cuda`; tokens written one by one are timed in
# [Performance](../docs/performance.md).
