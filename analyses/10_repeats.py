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
# # Fig. 17: blocks run twice and three times, both definitions
#
# **Claim of the paper.** "Double repeat" and "triple repeat" are compared with other variants. The text allows two
# definitions: the affected range as a whole, several times (`repeat`), or each block of it several times before the
# next (`repeat_each`).
#
# **Measured.** Both definitions, and two variants on the same ranges: their blocks left out, or all replaced by the
# middle one.
#
# **Answer, on the built-in tasks.** The two definitions differ by a factor of five or six in loss, so the claim stays
# undecided until the term is defined.
#
# Data: `repeats.nc` of [results.mk](results.mk) with every second start of the paper's range variants, twice and three
# times; `sweep.nc` for the others. Both have the same 36 examples a task (12 of the benchmarks), so draws are paired.
# Loss is the median over all tasks. The score (0 for guessing, 1 for the full model) is over those on which the full
# model is better than guessing.

# %%
import numpy as np
import pandas as pd

import layerscope as ls
from layerscope.figures.parts.axes import set_value_axis
from layerscope.figures.parts.legend_entries import band_entry, bar_entry, legend_entry, level_entry
from layerscope.figures.parts.looks import LOOKS
from layerscope.figures.parts.markers import CHANCE, FULL, draw_level
from resampling import (
    better_than_guessing,
    ends,
    one_number,
    over_tasks,
    runs_of,
    task_scores,
    tasks_of,
    without_score,
)
from notebook_io import Findings, keep, keep_table, result_path, panels, display_text, sink_writer

NAME = "10_repeats"
findings = Findings(NAME)
repeats, sweep = ls.open_sweep(result_path("repeats.nc")), ls.open_sweep(result_path("sweep.nc"))
assert (repeats.example_id.values == sweep.example_id.values).all()
sizes = sorted(set(repeats.affected.values) - {0})
tasks = {"loss_difference": tasks_of(repeats), "normalized": better_than_guessing(repeats)}
writer = sink_writer()
first = {int(count): int(start) for count, start in zip(repeats.affected.values, repeats.start.values, strict=True)}
holds = [count for count in sizes if first[count] <= writer < first[count] + count]
display_text(
    f"{repeats.attrs['model']}; loss over {', '.join(tasks['loss_difference'])}; score over {', '.join(tasks['normalized'])}."
)
display_text(f"Block {writer} writes the sink: it is in the range from M = {min(holds, default='never')} on.")

# %%
times = np.array(
    [int(str(spec).rpartition("times=")[2]) if "times=" in str(spec) else 1 for spec in repeats.schedule.values]
)
SHOWN = [("repeat", 2), ("repeat", 3), ("repeat_each", 2), ("repeat_each", 3), ("skip", 1), ("middle_repeat", 1)]
value = {}
for quantity in tasks:
    every = {
        part: over_tasks(part_of, quantity, tasks[quantity]) for part, part_of in (("again", repeats), ("once", sweep))
    }
    for variant, count in SHOWN:
        which, part_of = ("again", repeats) if count > 1 else ("once", sweep)
        runs = [run for run in runs_of(part_of, variant) if part_of.affected.values[run] in sizes]
        runs = [run for run in runs if which == "once" or times[run] == count]
        value[quantity, variant, count] = every[which][:, runs]

# %%
NAMES = {"loss_difference": "loss increase (nats per token)", "normalized": "score (0: chance, 1: full model)"}
STYLES = {1: "--", 2: "-", 3: ":"}
rows, key = [], []
for variant, count in SHOWN:
    look = LOOKS[variant]
    key.append(legend_entry(look, f"{look.name} ×{count}" if count > 1 else look.name))
    key[-1].set_linestyle(STYLES[count])
key += [band_entry("95 % interval, left"), bar_entry("right"), level_entry(FULL), level_entry(CHANCE)]
with panels(("", ""), key, "double") as (figure, places):
    for axes, (quantity, words) in zip(places, NAMES.items(), strict=True):
        of_score = quantity == "normalized"
        for variant, count in SHOWN:
            values = value[quantity, variant, count]
            colour, (low, high) = LOOKS[variant].colour, ends(values)
            along = np.array(sizes) + (0.25 * SHOWN.index((variant, count)) - 0.6 if of_score else 0)
            axes.plot(along, values[0], STYLES[count], marker=LOOKS[variant].marker, color=colour, markersize=3)
            if of_score:  # bands would hide each other
                axes.vlines(along, low, high, color=colour, linewidth=0.6, alpha=0.55)
            else:
                axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
            known = {"variant": variant, "times": count, "quantity": quantity}
            rows += [
                known | dict(zip(("affected", "value", "low", "high"), some, strict=True))
                for some in zip(sizes, values[0], low, high, strict=True)
            ]
        draw_level(axes, float(of_score), FULL)
        axes.set(xlabel=f"number of affected blocks, M (of {sweep.attrs['num_blocks']})", ylabel=words)
        set_value_axis(axes, linear_within=float(not of_score))
    draw_level(places[1], 0.0, CHANCE)
keep_table(pd.DataFrame(rows).set_index(["quantity", "variant", "times", "affected"]), NAME)
keep(figure, NAME)

# %% [markdown]
# Median over tasks with its 95 % interval over draws of examples. The axis of loss is linear up to 1.
#
# ## Which definition harms more?
#
# The mean over the ranges of more than one and at most half of the blocks, in nats a token, and the ratio of block by
# block to the whole range. The table has the difference for each range: the whole minus block by block.

# %%
some = [number for number, count in enumerate(sizes) if 1 < count <= repeats.attrs["num_blocks"] / 2]
mean = {which: value["loss_difference", *which][:, some].mean(1) for which in SHOWN}
display_text(f"M = {', '.join(str(sizes[number]) for number in some)}.")
for which in SHOWN:
    name = f"{which[0]}_{which[1]}" if which[1] > 1 else which[0]
    display_text(f"{name}: {findings.add(name, *one_number(mean[which]))} nats a token.")
rows = {}
for count in (2, 3):
    whole, each = (("repeat", count), ("repeat_each", count))
    display_text(
        f"×{count}: the whole beyond block by block {findings.add(f'apart_{count}', *one_number(mean[whole] - mean[each]))};",
        f"block by block is {findings.add(f'times_{count}', *one_number(mean[each] / mean[whole]))} times the whole.",
    )
    apart = value["loss_difference", *whole] - value["loss_difference", *each]
    rows[f"×{count}"] = [
        findings.add(f"apart_{count}_{m}", *one_number(of)) for m, of in zip(sizes, apart.T, strict=True)
    ]
pd.DataFrame(rows, index=pd.Index(sizes, name="affected"))

# %% [markdown]
# ## How does it compare with leaving the same blocks out?
#
# The harm of the whole range repeated, as a part of the harm of skip. Where the range includes the block that writes
# the sink, skip loses the sink and repeat does not.

# %%
part = {}
for count in (2, 3):
    of_skip = value["loss_difference", "repeat", count] / value["loss_difference", "skip", 1]
    part[f"×{count}"] = [findings.add(f"part_{count}_{sizes[n]}", *one_number(of_skip[:, n])) for n in some]
pd.DataFrame(part, index=pd.Index([sizes[number] for number in some], name="affected"))

# %% [markdown]
# ## By score
#
# The mean over the same ranges of the median over tasks, and differences with their intervals.

# %%
score = {which: value["normalized", *which][:, some].mean(1) for which in SHOWN}
for which in SHOWN:
    name = f"{which[0]}_{which[1]}" if which[1] > 1 else which[0]
    display_text(f"{name}: {findings.add(f'score_{name}', *one_number(score[which]))}.")
for count in (2, 3):
    apart = score["repeat", count] - score["repeat_each", count]
    display_text(
        f"×{count}: the whole beyond block by block {findings.add(f'score_apart_{count}', *one_number(apart))}."
    )
over_skip = findings.add("score_beyond_skip_2", *one_number(score["repeat", 2] - score["skip", 1]))
unknown = np.mean([without_score(task_scores(repeats, task)["normalized"]) for task in tasks["normalized"]])
display_text(
    f"The whole twice beyond skip: {over_skip}. Of the draws {unknown:.1%} have a full model no better than guessing."
)

# %% [markdown]
# ## Result on the built-in tasks
#
# **Which definition harms more depends on the range.** With 5 to 13 middle blocks, running the range **as a whole** a
# second time costs half a nat a token; **block by block** costs six times as much. For a third time the factor is
# five. Perhaps the whole keeps an order that the model knows, while block by block feeds each block its own output.
#
# At 17 blocks the second time is undecided, and from 21 on the order is reversed. For a third time that is so at 29
# blocks only: at 21 it is undecided, and at 25 block by block still harms more.
#
# **Against leaving the same blocks out**, the whole twice is milder: two fifths of the harm at five blocks, less than
# a tenth at 9 and 13. But from nine blocks on skip leaves out block 11, which writes the sink, so five is perhaps the
# fairer comparison. There, for a third time, it is undecided which harms more.
#
# **By score** the whole beats block by block at three times. Twice it is undecided, as 36 questions a task are too
# few. The whole twice beats skip.
