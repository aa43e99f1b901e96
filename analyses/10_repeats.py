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
# # Fig. 17: blocks twice and three times, both readings
#
# "Double repeat" and "triple repeat" of the paper can be read in two ways: the affected range as a whole, again and
# again (`repeat`), or each block of it so many times before the next (`repeat_each`). Its text does not decide, so here
# are both.
#
# `repeats.nc` of [results.mk](results.mk): every second start of the paper's range variants, twice and three times, 36
# examples a task.

# %%
import numpy as np
import pandas as pd

import layerscope as ls
from layerscope.figures.marks import LOOKS
from resampling import bounds, known_median, one_number, replicates
from shelf import Findings, axes_for, keep, keep_table, made, say

NAME = "10_repeats"
found = Findings(NAME)
sweep = ls.open_sweep(made("repeats.nc"))
tasks = [str(task) for task in sweep.task.values]
times = np.array(
    [int(spec.rpartition("=")[2]) if "times=" in spec else 1 for spec in sweep.schedule.values.astype(str)]
)
value = {q: sweep[q].median("task").values for q in ("loss_difference", "normalized")}
again = {q: known_median([replicates(sweep, task)[q] for task in tasks], axis=0) for q in value}

# %%
lines = {}
with axes_for(height=2.4) as (figure, axes):
    for variant in ("repeat", "repeat_each"):
        for count in (2, 3):
            runs = np.flatnonzero((sweep.variant.values == variant) & (times == count))
            runs = runs[np.argsort(sweep.affected.values[runs])]
            low, high = bounds(again["loss_difference"][:, runs])
            lines[variant, count] = pd.DataFrame(
                {
                    "loss_difference": value["loss_difference"][runs],
                    "low": low,
                    "high": high,
                    "normalized": value["normalized"][runs],
                },
                index=pd.Index(sweep.affected.values[runs], name="affected"),
            )
            look, own = LOOKS[variant], lines[variant, count]
            style = {"color": look.colour, "marker": look.marker, "linestyle": "-" if count == 2 else ":"}
            axes.plot(own.index, own.loss_difference, label=f"{look.name} ×{count}", markersize=3, **style)
            axes.fill_between(own.index, own.low, own.high, color=look.colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color="black", linestyle="--", linewidth=0.6)
    axes.set(xlabel="number of repeated blocks", ylabel="loss increase (nats per token)")
keep_table(pd.concat(lines, names=["variant", "times"]), NAME)
keep(figure, NAME)

# %% [markdown]
# Median over tasks; the band is the 95 % interval over draws of examples.
#
# ## Which reading harms more, and how does either compare with skipping the same blocks?

# %%
affected = sweep.affected.values
some = (affected > 1) & (affected <= sweep.attrs["num_blocks"] / 2)
for count in (2, 3):
    runs = {name: (sweep.variant.values == name) & (times == count) & some for name in ("repeat", "repeat_each")}
    mean = {
        name: (value["loss_difference"][own].mean(), again["loss_difference"][:, own].mean(1))
        for name, own in runs.items()
    }
    for name, (one, repeated) in mean.items():
        say(f"×{count}, {name}: {found.add(f'{name}_{count}', *one_number(one, repeated))} nats a token.")
    apart = mean["repeat"][0] - mean["repeat_each"][0], mean["repeat"][1] - mean["repeat_each"][1]
    say(f"×{count}, the whole range beyond block by block: {found.add(f'apart_{count}', *one_number(*apart))}.")

# %%
variants = ls.open_sweep(made("sweep.nc"))
rows = {}
for name in ("skip", "middle_repeat"):
    own = (variants.variant.values == name) & np.isin(variants.affected.values, affected[some])
    rows[name] = found.add(name, variants.loss_difference.median("task").values[own].mean())
say(f"The same ranges skipped: {rows['skip']}; replaced by the middle block: {rows['middle_repeat']} nats a token.")

# %% [markdown]
# ## What it says, on the built-in tasks
#
# Whether repeating harms depends on the reading. The middle **as a whole**, run a second time, is forgiven: up to
# thirteen blocks it costs half a nat a token, a tenth of what it costs to leave the same blocks out, and a third time
# two nats at most. **Block by block** the same calls cost five times as much. The first keeps the blocks in an order
# that the model knows, its output near enough to its input to be read again; the second feeds each block with its own
# output. With 21 blocks and more, when the beginning and the end are repeated too, it is the other way round. A
# comparison of "double repeat" with the other variants has to say which one it means.
