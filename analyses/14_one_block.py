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
# # Beyond the paper: does one block break the model, or the number of blocks?
#
# **Question.** The paper's ranges grow from the middle outwards, so the effect of single blocks is mixed with their
# number. In this model one middle block writes the sink, the massive value in the first token ([Fig.
# 3](02_similarity.ipynb)). In [Fig. 11](05_all_variants.ipynb), skip, reverse and random order fall just where the
# range starts to contain it. Is it that block, or the number?
#
# **Measured.** The number stays and the range moves: seven neighbouring blocks, at every position between the first
# and the last, are left out, reversed and run in parallel.
#
# **Answer, on the built-in tasks.** It is that block in part: about three quarters of what reverse loses from seven to
# nine blocks, a little under half of what skip loses.
#
# Data: `windows.nc` of [results.mk](results.mk) is a sweep of these schedules (36 examples a task, 12 of the
# benchmarks). `windows-largest.nc` has the largest absolute value of any state under each of them, on ten texts (five
# of LAMBADA).

# %%
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.ticker import LogLocator, NullLocator

import layerscope as ls
from layerscope.figures.parts.axes import set_value_axis
from layerscope.figures.parts.legend_entries import band_entry, bar_entry, legend_entry, level_entry
from layerscope.figures.parts.looks import LOOKS
from layerscope.figures.parts.markers import FULL, draw_level, draw_points
from layerscope.figures.parts.style import SHADE
from resampling import ends, one_number, over_tasks, runs_of, tasks_of
from notebook_io import Findings, keep, keep_table, result_path, panels, display_text, sink_writer
from slide_window import CHANGES, windows, written_out

NAME = "14_one_block"
findings = Findings(NAME)
sweep = ls.open_sweep(result_path("windows.nc"))
states = xr.open_dataset(result_path("windows-largest.nc"), engine="h5netcdf")
depth, size, writer = int(sweep.attrs["num_blocks"]), int(states.attrs["size"]), sink_writer()
places = windows(depth, size)
first = np.array([blocks.start for blocks in places])
holds = np.array([writer in blocks for blocks in places])
at = {str(spec): run for run, spec in enumerate(sweep.schedule.values)}
runs = {change: [at[written_out(depth, blocks, change)] for blocks in places] for change in CHANGES}
loss = over_tasks(sweep, "loss_difference", tasks_of(sweep))
harm = {change: loss[:, runs[change]] for change in CHANGES}  # [1 + draw, window]
display_text(
    f"{sweep.attrs['model']}, {size} of {depth} blocks; block {writer} writes the sink, and",
    f"{holds.sum()} of {len(places)} windows hold it: those that begin with block {first[holds].min()} to {first[holds].max()}.",
)

# %% [markdown]
# ## Harm and sink, window by window
#
# Left: the loss beyond the full model's, the median over tasks, with its 95 % interval. Right: the largest value. Grey
# windows contain the block that writes the sink.

# %%
rows = []
key = [*(legend_entry(LOOKS[change]) for change in CHANGES), bar_entry("95 % interval"), level_entry(FULL)]
key.append(band_entry(f"block {writer} is among them"))
with panels(("", ""), key, "double") as (figure, (left, right)):
    for axes, words in ((left, "loss increase (nats per token)"), (right, "largest |x| in any state")):
        axes.axvspan(first[holds].min() - 0.5, first[holds].max() + 0.5, color=SHADE, linewidth=0, zorder=0)
        axes.set(xlabel=f"first of {size} affected blocks", ylabel=words)
    for number, change in enumerate(CHANGES):
        look, (low, high) = LOOKS[change], ends(harm[change])
        aside = first + 0.15 * (number - 1)
        draw_points(left, aside, harm[change][0], look, low=low, high=high)
        largest = states.largest.sel(change=change).values
        draw_points(right, first.astype(float), largest, look)
        for columns in zip(first, holds, harm[change][0], low, high, largest, strict=True):
            names = ("first", "holds_writer", "loss_increase", "low", "high", "largest")
            rows.append({"change": change} | dict(zip(names, columns, strict=True)))
    draw_level(left, 0.0, FULL)
    set_value_axis(left)
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter("{x:,g}")
    right.yaxis.set_minor_locator(NullLocator())
keep_table(pd.DataFrame(rows).set_index(["change", "first"]), NAME)
keep(figure, NAME)

# %% [markdown]
# ## One block further
#
# The last window without that block and the first with it differ in two blocks: one contains the writer and not the
# block after the range, the other the reverse.
#
# The table has the step in loss between the two windows, the median and the largest size of the steps between other
# neighbouring windows, and the largest value under both. *Of the rise* divides that step by the rise in loss from as
# many middle blocks to two more, where the writer is first included.

# %%
with_it = int(np.flatnonzero(first == writer)[0]) if writer in first else int(np.flatnonzero(holds)[-1])
without = min(with_it + 1, len(places) - 1)
others = [number for number in range(len(places) - 1) if {number, number + 1} != {with_it, without}]
display_text(
    f"From blocks {places[without][0]} to {places[without][-1]} to blocks {places[with_it][0]} to {places[with_it][-1]}:"
)
middle, rows = ls.open_sweep(result_path("sweep.nc")), {}
wider = over_tasks(middle, "loss_difference", tasks_of(middle))
for change in CHANGES:
    step = harm[change][:, with_it] - harm[change][:, without]
    steps = np.abs(np.diff(harm[change], axis=1))[:, others]
    row = {"without": harm[change][:, without], "with": harm[change][:, with_it], "step": step}
    row |= {"other steps": np.median(steps, axis=1), "largest other step": steps.max(axis=1)}
    (narrow,), (wide,) = (runs_of(middle, change, count, count) for count in (size, size + 2))
    row["of the rise"] = step / (wider[:, wide] - wider[:, narrow])
    rows[change] = {
        name: findings.add(f"{name.replace(' ', '_')}_{change}", *one_number(of)) for name, of in row.items()
    }
    for name, number in (("without", without), ("with", with_it)):
        value = float(states.largest.sel(change=change)[number])
        rows[change][f"largest |x|, {name}"] = findings.add(f"largest_{name}_{change}", value)
pd.DataFrame.from_dict(rows, orient="index")

# %%
parts = {"before": first + size <= writer, "with": holds, "after": first > writer}
mean = {
    change: {
        words: findings.add(f"mean_{words}_{change}", *one_number(harm[change][:, part].mean(1)))
        for words, part in parts.items()
        if part.any()
    }
    for change in CHANGES
}
display_text("The mean over the windows that end before the writer, hold it, and begin after it:")
pd.DataFrame(mean).T

# %%
before = int(np.flatnonzero(holds)[0]) - 1  # the last window that ends before the writer
for change in CHANGES:
    values = harm[change][:, max(before + 1, 0)] - harm[change][:, max(before, 0)]
    display_text(
        f"{change}: from the last window before the writer to the first that holds it",
        f"{findings.add(f'step_before_{change}', *one_number(values))} nats; largest value before it",
        f"{findings.add(f'largest_before_{change}', float(states.largest.sel(change=change)[max(before, 0)]))}.",
    )
beside = findings.add(
    "reverse_beyond_parallel", *one_number(harm["reverse"][:, with_it] - harm["parallel"][:, with_it])
)
display_text(f"With the writer, reverse costs {beside} nats more than parallel.")

# %% [markdown]
# ## Result on the built-in tasks
#
# **It is that block in part.** Seven blocks right behind the writer cost about one and a half nats left out, and as
# much reversed. One block further towards the beginning, with the writer among the seven, they cost nearly three times
# as much left out and more than five times reversed. That is far above the median step elsewhere, though towards the
# ends single steps are as large. In parallel the step does not differ from 0 beyond noise.
#
# Where the range of Fig. 11 grows from seven to nine and then contains the writer, this one step is about three
# quarters of what reverse loses there, and a little under half of what skip loses. The rest comes from the other block
# and the number.
#
# **A small sink alone is not the harm.** With the writer affected, the largest value is a quarter of the full model's
# under reverse and under parallel, yet reverse costs six nats more. So "without its sink the model breaks" is too
# simple. This does not apply to skip, which leaves a twentieth. The comparison is by size alone, and does not ask
# whether it is the same feature of the same token.
#
# **Towards the beginning there is no such edge.** Ranges that end before the writer cost more, in the mean, than those
# that contain it; so do ranges that begin after it, left out or in parallel. So the writer alone is not a threshold;
# it is the obstacle for a range that grows from the middle.
#
# With ranges before the writer the largest value is mostly small too, from a twentieth to two fifths of the full
# model's, though blocks 1 to 7 in parallel leave nine tenths of it. So the value also depends on what ran before the
# block; these ranges do not show on which blocks. Perhaps several blocks make the sink, and the last of them only
# makes it large.
