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
# # §3.5: what parallel and skip really save
#
# **Claim of the paper.** Parallel at N = 8 of 32 blocks takes 18 sequential steps in place of 32, "about half".
#
# **Measured.** Whether a saved step saves time depends on the machine: a processor that one block keeps busy gains
# nothing from several blocks at once. Here the time is measured on one processor, together with the loss and score
# that it costs.
#
# **Answer, on the built-in tasks and two processor cores.** Counted in steps the claim holds; in time parallel saves
# little, and skip saves all that it leaves out.
#
# Data: losses (median over all tasks) and scores (over those on which the full model is better than guessing) are from
# `sweep.nc`. Times are from `latency-64.nc` and `latency-1.nc` of [results.mk](results.mk), `layerscope sweep
# --latency`: 64 tokens of one text at once, and a single token, as in generation. Both leave out the vocabulary head.
# Schedules take turns, and the least of five measurements counts. Parallel stages use the faster of two ways: block by
# block, or stacked as one batched call.

# %%
import pandas as pd
from scipy.stats import linregress

import layerscope as ls
from resampling import better_than_guessing, one_number, over_tasks, runs_of, tasks_of
from notebook_io import Findings, keep, keep_table, result_path, display_text

NAME = "13_latency"
findings = Findings(NAME)
sweep = ls.open_sweep(result_path("sweep.nc"))
timed = {tokens: ls.open_sweep(result_path(f"latency-{tokens}.nc")) for tokens in (64, 1)}
specs = [str(spec) for spec in timed[64].schedule.values]
place = {str(spec): run for run, spec in enumerate(sweep.schedule.values)}
runs = sweep.isel(run=[place[spec] for spec in specs])
tasks = better_than_guessing(sweep)
both = {
    tokens: runs.assign({name: one[name] for name in ("seconds_per_token", "stacked")}) for tokens, one in timed.items()
}
for tokens, one in both.items():
    display_text(
        f"{tokens} at once: {findings.add(f'milliseconds_{tokens}', 1e3 * one.seconds_per_token[0])} ms a token."
    )
display_text(f"{sweep.attrs['model']}; scores over {', '.join(tasks)}.")

# %% [markdown]
# ## 64 tokens at once

# %%
keep(ls.figures.latency(both[64].sel(task=tasks), "normalized"), NAME)

# %%
keep(ls.figures.latency(both[64], "loss_difference"), NAME + "-loss")

# %% [markdown]
# ## A single token, as in generation

# %%
keep(ls.figures.latency(both[1], "loss_difference"), NAME + "-single")

# %% [markdown]
# ## Time against steps
#
# Time a token as a part of the full model's, against sequential stages as a part of its blocks. At a slope of 1 a
# saved stage saves its time. Each number is the least of five measurements, so there is no interval.

# %%
table = runs[["variant", "start", "affected", "loops", "stages"]].to_dataframe().reset_index(drop=True)
table["steps"] = table.stages / table.stages[0]
loss = over_tasks(runs, "loss_difference", tasks_of(sweep))
table["loss_difference"], table["normalized"] = loss[0], over_tasks(runs, "normalized", tasks)[0]
for tokens, one in both.items():
    table[f"time_{tokens}"] = (one.seconds_per_token / one.seconds_per_token[0]).values
    table[f"stacked_{tokens}"] = one.stacked.values
keep_table(table, NAME)
rows = {}
for variant in ("skip", "parallel", "looped_parallel"):
    for tokens in both:
        line = linregress(*table[table.variant == variant][["steps", f"time_{tokens}"]].to_numpy().T)
        rows.setdefault(variant, {})[f"{tokens} at once"] = findings.add(f"slope_{variant}_{tokens}", line.slope)
pd.DataFrame.from_dict(rows, orient="index")

# %%
parallel = table[table.variant == "parallel"]
count = int(parallel.affected[(parallel.steps - 0.5).abs().idxmin()])
halved = table[table.affected == count].set_index("variant")
for name, row in halved.iterrows():
    for column in ("steps", "time_64", "time_1", "loss_difference"):
        findings.add(f"{column}_{name}", row[column])
display_text(f"Nearest to half of the steps, {count} blocks in parallel:")
halved[["stages", "steps", "time_64", "time_1", "loss_difference", "normalized"]].round(2)

# %% [markdown]
# ## Would skip use the same time better?
#
# The loss of parallel minus that of the best skip that takes at most as long, within 2 %, chosen again in each draw of
# examples. Where it is positive, skip uses that time better.

# %%
skips, beyond = runs_of(runs, "skip"), {}
for run in runs_of(runs, "parallel", least=2):
    count = int(table.affected[run])
    for tokens in both:
        time = table[f"time_{tokens}"].to_numpy()
        rivals = skips[time[skips] <= max(1.02 * time[run], time[skips].min())]
        apart = one_number(loss[:, run] - loss[:, rivals].min(axis=1))
        beyond.setdefault(count, {})[f"{tokens} at once"] = findings.add(f"beyond_skip_{count}_{tokens}", *apart)
pd.DataFrame.from_dict(beyond, orient="index").rename_axis("parallel blocks")

# %% [markdown]
# ## Result on the built-in tasks
#
# **Counted in stages, parallel and skip cost about the same.**
#
# **Measured on two processor cores, skip saves the time of the blocks that it leaves out, and parallel little.** With
# 64 tokens at once, which already fill two cores, parallel saves next to nothing. With a single token, stacked blocks
# save something, less than half of what the stages promise. Half of the stages take most of the time, and three passes
# take more than one.
#
# **Skip is the better use of the same time.** For every range, the best skip that takes at most as long as parallel
# loses less, beyond noise from five blocks on.
#
# The gain that the paper counts requires a processor with room for several blocks at once. To measure it on your own
# machine, run `layerscope sweep … --latency --latency-tokens 1 --device cuda`; more in
# [Performance](../docs/performance.md).
