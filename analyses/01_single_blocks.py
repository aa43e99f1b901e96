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
# # Fig. 2: single blocks left out or swapped
#
# **Claim of the paper.** A few blocks at either end matter, and the middle hardly notices when one of its blocks is
# left out or swapped with the next.
#
# **Measured.** Each block left out, and each swapped with the next: first by loss, which shows an effect of every
# block, then by normalised score, the paper's axis.
#
# **Answer, on the built-in tasks.** The claim holds in part: a middle block costs little, except block 11, which
# writes the sink and costs about as much as the last block.
#
# The results are part of `sweep.nc` of [results.mk](results.mk): `layerscope sweep --variants all,drop,swap`, with 36
# examples a task (12 of the benchmarks). All 210 runs share these examples; more would take too long.

# %%
import numpy as np

import layerscope as ls
from resampling import (
    as_one_task,
    better_than_guessing,
    known_median,
    one_number,
    over_tasks,
    task_scores,
    tasks_of,
    without_score,
)
from notebook_io import Findings, as_called, keep, keep_table, result_path, display_text, sink_writer

NAME = "01_single_blocks"
sweep, findings = ls.open_sweep(result_path("sweep.nc")), Findings(NAME)
depth, every = int(sweep.attrs["num_blocks"]), tasks_of(sweep)
able = better_than_guessing(sweep)
medians = {"loss_difference": over_tasks(sweep, "loss_difference", every)}
medians["normalized"] = over_tasks(sweep, "normalized", able)
median = as_one_task(sweep, medians)
single = np.isin(sweep.variant.values, ["identity", "drop", "swap"])
keep_table(median.isel(run=single).sel(task="median").to_dataframe()[["variant", "start", *median]], NAME)
display_text(
    f"{sweep.attrs['model']}, {depth} blocks. Loss: median of {', '.join(every)}; score: of {', '.join(able)}."
)
keep(ls.figures.single(median.isel(run=single), "loss_difference"), NAME)

# %% [markdown]
# ## Loss and score, median over tasks
#
# The axis is linear up to 0.1 nats and logarithmic beyond, because the first block alone costs more than ten times as
# much as most others. Bars are the middle 95 % of 1000 draws of examples.
#
# The score, next, is over the tasks on which the full model is better than guessing: its whole interval is above
# chance.

# %%
display_text(
    "Draws in which the full model is no better than guessing, which have no score and are left out of its intervals:",
    ", ".join(f"{task} {without_score(task_scores(sweep, task)['normalized']):.1%}" for task in able) + ".",
)
figure = ls.figures.single(median.isel(run=single), "normalized")
keep(figure, NAME + "-score")

# %% [markdown]
# ## Loss, task by task

# %%
keep(ls.figures.single(as_called(sweep.isel(run=single)), "loss_difference"), NAME + "-tasks")

# %% [markdown]
# ## Which blocks matter?
#
# The *sink* is the massive value in the first token. The block that writes it is the one before the largest jump of
# the largest value ([Fig. 3](02_similarity.ipynb)).

# %%
cost, score = medians["loss_difference"], medians["normalized"]


def runs(variant: str) -> np.ndarray:
    """Return the runs of a variant, block by block."""
    own = np.flatnonzero(sweep.variant.values == variant)
    return own[np.argsort(sweep.start.values[own])]


dropped, swapped = cost[:, runs("drop")], cost[:, runs("swap")]
worst = np.argsort(-dropped[0])[:5]
costliest = []
for place, block in enumerate(map(int, worst), start=1):
    findings.add(f"drop_{place}_block", block)
    costliest.append(f"block {block} {findings.add(f'drop_{place}', *one_number(dropped[:, block]))}")
display_text("Left out, these cost most, in nats a token: " + ", ".join(costliest) + ".")

# %%
writer, last = sink_writer(), depth - 1
findings.add("writer", writer)
beyond = findings.add("writer_beyond_last", *one_number(dropped[:, writer] - dropped[:, last]))
display_text(
    f"Block {writer} writes the sink. Left out, it costs {findings.add('writer_drop', *one_number(dropped[:, writer]))} nats",
    f"a token, by {beyond} more than the last block; the score is",
    f"{findings.add('writer_score', *one_number(score[:, runs('drop')[writer]]))} without it and",
    f"{findings.add('last_score', *one_number(score[:, runs('drop')[last]]))} without the last block.",
)
others = [block for block in range(depth // 10, last - depth // 10) if block != writer]
each = np.stack([task_scores(sweep, task)["loss_difference"][0, runs("drop")] for task in every])
peak = findings.add("writer_is_peak", (each[:, writer] > each[:, others].max(axis=1)).sum())
display_text(f"In {peak} of {len(every)} tasks it costs more than any of the blocks {others[0]} to {others[-1]}.")
second = max(others, key=lambda block: dropped[0, block])
display_text(
    f"Next among them comes block {findings.add('next_block', second)}:",
    f"{findings.add('next_drop', *one_number(dropped[:, second]))} nats, a score of",
    f"{findings.add('next_score', *one_number(score[:, runs('drop')[second]]))}.",
)
for name, block in (("swap_first", 0), ("swap_last", depth - 2)):
    display_text(f"Blocks {block} and {block + 1} exchanged: {findings.add(name, *one_number(swapped[:, block]))}.")

# %%
middle = np.arange(depth // 10, last - depth // 10)
for name, values in (("drop", dropped), ("swap", swapped)):
    loss = findings.add(f"middle_{name}", *one_number(np.median(values[:, middle], axis=1)))
    kept = findings.add(f"middle_{name}_score", *one_number(known_median(score[:, runs(name)[middle]], axis=1)))
    display_text(f"The median of blocks {middle[0]} to {middle[-1]}, {name}: {loss} nats a token, a score of {kept}.")
milder = (swapped[:, middle] < dropped[:, middle]).mean(axis=1)
share = findings.add("swap_milder", *one_number(milder))
display_text(f"Exchanging a block with the next costs less than leaving it out for this share of them: {share}.")

# %% [markdown]
# ## Result on the built-in tasks
#
# **The ends matter most, as in the paper.** Without one middle block the loss rises by a few tenths of a nat, and
# about a quarter of the score is lost. Swapping neighbours there costs less still. The first two blocks are essential,
# by loss and by score. The last one costs as much loss as the worst middle block, but no score beyond noise. Perhaps
# its work is seldom needed to separate right from wrong answers.
#
# **Block 11 is an exception in the middle.** It writes the massive activation of the first token, which every later
# block can read. Without it the loss is about that without the last block (which of the two costs more is undecided),
# and much of the score is lost. Single tasks are noisier, but block 11 is the peak of the middle in each.
#
# **Open: does the missing sink do the harm?** The block does other things too, and in parallel [a sink of a quarter of
# its size costs nothing](14_one_block.ipynb).
