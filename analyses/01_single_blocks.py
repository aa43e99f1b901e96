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
# # Fig. 2: single blocks left out or exchanged
#
# Each block of the model left out, and each exchanged with the next, as in the paper's Fig. 2. The paper finds that a
# few blocks at the beginning and one at the end matter and that the middle hardly notices either.
#
# The results are part of `sweep.nc` of [results.mk](results.mk), `layerscope sweep` with `--variants all,drop,swap`: 36
# examples a task, so that this figure and the sweep of all variants share their examples and their half hour.

# %%
import numpy as np

import layerscope as ls
from resampling import one_number, replicates
from shelf import Findings, keep, keep_table, made, say

NAME = "01_single_blocks"
sweep, found = ls.open_sweep(made("sweep.nc")), Findings(NAME)
depth = int(sweep.attrs["num_blocks"])
columns = ["variant", "start", "loss", "loss_difference", "loss_difference_low", "loss_difference_high", "accuracy"]
single = sweep.isel(run=np.isin(sweep.variant.values, ["identity", "drop", "swap"]))
keep_table(single[columns].to_dataframe().reset_index("run", drop=True), NAME)
keep(ls.figures.single(single, "loss_difference"), NAME)

# %% [markdown]
# The axis is linear up to 0.1 nats and logarithmic beyond; it has to be, the first block alone costs more than ten
# times as much as most others.
#
# ## Which blocks matter?

# %%
tasks = [str(task) for task in sweep.task.values]
again = np.median([replicates(sweep, task)["loss_difference"] for task in tasks], axis=0)
cost = sweep.loss_difference.median("task").values


def of(variant: str, block: int) -> tuple[float, float, float]:
    """Return the median cost over tasks of one run, in nats a token, with its interval."""
    run = int(np.flatnonzero((sweep.variant.values == variant) & (sweep.start.values == block))[0])
    return one_number(cost[run], again[:, run])


dropped = np.array([of("drop", block) for block in range(depth)])
swapped = np.array([of("swap", block) for block in range(depth - 1)])
worst = np.argsort(-dropped[:, 0])[:5]
said = [f"block {block} {found.add(f'drop_{place}', *dropped[block])}" for place, block in enumerate(worst, start=1)]
say("Left out, these cost most, in nats a token (median over tasks): " + ", ".join(said) + ".")
for place, block in enumerate(worst, start=1):
    found.add(f"drop_{place}_block", block)

# %%
middle = np.arange(depth // 10, depth - 1 - depth // 10)
of_middle = [np.median([values[block, 0] for block in middle]) for values in (dropped, swapped)]
runs = {
    name: np.flatnonzero((sweep.variant.values == name) & np.isin(sweep.start.values, middle))
    for name in ("drop", "swap")
}
for value, (name, chosen) in zip(of_middle, runs.items(), strict=True):
    repeated = np.median(again[:, chosen], axis=1)
    say(
        f"The median of blocks {middle[0]} to {middle[-1]}, {name}: {found.add(f'middle_{name}', *one_number(value, repeated))}."
    )
milder = float(np.mean(swapped[middle, 0] < dropped[middle, 0]))
say(f"Exchanging a block with the next is milder than leaving it out for {found.add('swap_milder', milder)} of these.")

# %% [markdown]
# ## What it says, on the built-in tasks
#
# As in the paper, the ends matter and the middle is forgiving: without one middle block the loss rises by a few tenths
# of a nat, and exchanging neighbours there costs less still. The first two blocks and the last one are what the model
# cannot do without. One block of the middle stands out, block 11: it is the block that writes the massive activation of
# the first token, which every later block reads ([Fig. 3](02_similarity.ipynb)). Without it the model is about as badly
# off as without its last block. So "the middle layers are interchangeable" has an exception, and the exception is the
# sink.
