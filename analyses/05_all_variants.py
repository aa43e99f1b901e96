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
# **Claim of the paper.** From worst to least harm, for Llama2-7B: middle repeat by far, skip, parallel, reverse,
# random, and parallel run three times.
#
# **Measured.** The median over tasks of the normalised score (0 for guessing, 1 for the full model), as in the paper,
# and of the loss, for six ways to run the middle of a model against the number of affected blocks, M.
#
# **Answer, on the built-in tasks.** The claim holds in part: by score nothing contradicts the order and little is
# decided; by loss the two ends hold, and with nine to 15 blocks parallel and skip are milder than the paper ranks
# them.
#
# Data: `sweep.nc` of [results.mk](results.mk), `layerscope sweep` over the tasks with all variants from all starts. It
# has 36 examples a task and 5 shuffles (of the benchmarks 12 and 3), where the paper has 10 shuffles. Scores are over
# the tasks on which the full model is better than guessing (its whole interval above chance), losses over all.

# %%
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

import layerscope as ls
from resampling import (
    RUN,
    as_one_task,
    better_than_guessing,
    one_number,
    over_tasks,
    runs_of,
    task_scores,
    tasks_of,
    without_score,
)
from notebook_io import Findings, keep, keep_table, result_path, display_text, sink_writer

NAME = "05_all_variants"
sweep, findings = ls.open_sweep(result_path("sweep.nc")), Findings(NAME)
depth, every = int(sweep.attrs["num_blocks"]), tasks_of(sweep)
able = better_than_guessing(sweep)
display_text(
    f"{sweep.attrs['model']}, {depth} blocks. Score: median of {', '.join(able)}; loss: of {', '.join(every)}."
)
display_text(
    "Draws in which the full model is no better than guessing, which have no score and are left out of its intervals:",
    ", ".join(f"{task} {without_score(task_scores(sweep, task)['normalized']):.1%}" for task in able) + ".",
)

# %% [markdown]
# ## Score, median over tasks
#
# All runs are resampled over the same draws of examples, and the median is taken in each draw. Bars are the middle 95
# % of those medians. Random order is the mean of its shuffles; its band extends from the lowest to the highest of
# them, and it has no bars.

# %%
medians = {"normalized": over_tasks(sweep, "normalized", able)}
medians["loss_difference"] = loss = over_tasks(sweep, "loss_difference", every)
median = as_one_task(sweep, medians)
keep_table(median.sel(task="median").to_dataframe()[[*RUN, *median]], NAME)
keep(ls.figures.sweep(median, "normalized"), NAME)

# %% [markdown]
# ## Loss, median over tasks
#
# The score of a small model falls to chance within a few blocks and carries no information there. The loss still
# separates the variants: nats a token beyond those of the full model, on the same examples.

# %%
keep(ls.figures.sweep(median, "loss_difference"), NAME + "-loss")

# %%
PAPER = ["looped_parallel", "random", "reverse", "parallel", "skip", "middle_repeat"]  # from least to most harm
counts = [int(count) for count in np.unique(sweep.affected.values[runs_of(sweep, "skip")])]


def at(harm: np.ndarray, count: int) -> np.ndarray:
    """Return the result of each variant with a given number of affected blocks: [1 + draw, variant]."""
    return np.stack([harm[:, runs_of(sweep, name, count, count)].mean(1) for name in PAPER], axis=1)


by_variant = {count: at(loss, count) for count in counts}
pd.DataFrame({count: values[0] for count, values in by_variant.items()}, index=PAPER).T.rename_axis("M").round(2)

# %% [markdown]
# ## The sink's block is a confound
#
# One middle block writes the sink, the massive value in the first token ([Fig. 3](02_similarity.ipynb)). Left out
# alone, it costs more than any other middle block ([Fig. 2](01_single_blocks.ipynb)). From some M on it is among the
# affected blocks.

# %%
writer = sink_writer()
apart = [count for count in counts if not (depth - count + 1) // 2 <= writer < (depth + count + 1) // 2]
apart = apart or counts[:1]
with_it = min((count for count in counts if count > max(apart)), default=max(apart))
display_text(
    f"Block {writer} writes the sink. Up to M = {findings.add('without_writer', max(apart))} it is not affected."
)
for number, name in enumerate(PAPER):
    before, after = (one_number(by_variant[count][:, number]) for count in (max(apart), with_it))
    display_text(
        f"{name}: {findings.add(f'before_writer_{name}', *before)} nats a token at M = {max(apart)},",
        f"{findings.add(f'with_writer_{name}', *after)} at M = {with_it}.",
    )

# %% [markdown]
# ## Which variant harms most?
#
# The variants are ranked at each start with three blocks or more, 1 for the least harm: by the median score, as in the
# paper, and by the median loss. (With one block, four of the six are the full model.)
#
# The mean rank is over three ranges that have no start in common: the starts that exclude the sink's block, those that
# affect more, up to half of the blocks, and the widest. Intervals are from draws of examples, for these shuffles and
# this model.
#
# Kendall's tau compares with the paper's order. Its p is the share of all orders of six variants whose agreement is as
# good, in either direction.

# %%
RANGES = {"apart": (3, max(apart)), "with": (max(apart) + 1, depth / 2), "wide": (depth / 2 + 1, np.inf)}
harms = {"loss": loss, "score": -medians["normalized"]}


def within(least: float, most: float) -> list[int]:
    """Return the numbers of affected blocks of a range."""
    return [count for count in counts if least <= count <= most] or counts[-1:]


ranked, rows = {}, {}
for (quantity, harm), (words, ends_at) in product(harms.items(), RANGES.items()):
    some = within(*ends_at)
    ranked[quantity, words] = ranks = np.mean([rankdata(at(harm, count), axis=-1) for count in some], axis=0)
    column, key = (f"{quantity}, M = {some[0]} to {some[-1]}", f"{quantity}_{words}")
    for number, name in enumerate(PAPER):
        rows.setdefault(name, {})[column] = findings.add(f"rank_{key}_{name}", *one_number(ranks[:, number]))
    tau = np.array([kendalltau(line, np.arange(6)).statistic for line in ranks])
    rows.setdefault("tau with the paper's order", {})[column] = findings.add(f"tau_{key}", *one_number(tau))
    chance = findings.add(f"tau_{key}_p", kendalltau(ranks[0], np.arange(6)).pvalue)
    rows.setdefault("p of that tau", {})[column] = chance
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# Pair by pair: the rank of the variant that the paper calls worse, minus that of the other. Above 0 they agree. Both
# use the same draws, so an interval that includes 0 leaves the pair undecided.

# %%
pairs = {}
for (quantity, words), ranks in ranked.items():
    verdicts = []
    for milder, worse in combinations(range(6), 2):
        number, low, high = one_number(ranks[:, worse] - ranks[:, milder])
        text = findings.add(f"pair_{quantity}_{words}_{PAPER[worse]}_{PAPER[milder]}", number, low, high)
        pairs.setdefault(f"{PAPER[worse]} - {PAPER[milder]}", {})[f"{quantity}, {words}"] = text
        verdicts.append(np.sign(low) if low * high > 0 else 0)
    for kind, sign in {"agree": 1, "disagree": -1, "undecided": 0}.items():
        number = findings.add(f"pairs_{quantity}_{words}_{kind}", verdicts.count(sign))
        pairs.setdefault(f"of 15, {kind}", {})[f"{quantity}, {words}"] = number
pd.DataFrame.from_dict(pairs, orient="index")

# %%
each = {}
for seed in np.unique(sweep.seed.values[runs_of(sweep, "random")]):
    of_seed = {count: by_variant[count][0].copy() for count in within(*RANGES["with"])}
    for count, values in of_seed.items():
        own = [run for run in runs_of(sweep, "random", count, count) if sweep.seed.values[run] == seed]
        values[PAPER.index("random")] = loss[0, own].mean()
    each[int(seed)] = np.mean([rankdata(values) for values in of_seed.values()], axis=0)[PAPER.index("random")]
one, other = (findings.add(f"rank_loss_with_random_{f.__name__}", f(each.values())) for f in (min, max))
display_text(
    f"By loss, with one shuffle in place of their mean, the rank of random in the second range is from {one} to {other}."
)

# %% [markdown]
# ## Result on the built-in tasks
#
# **By score, nothing disagrees with the paper**, and little is decided. A third of the pairs agree beyond noise up to
# seven blocks, about as many from nine to 15, and none beyond, where all are at chance.
#
# **By loss, the two ends are the paper's.** Parallel run three times harms least from 3 to 25 blocks; only of a single
# block, which it runs three times, it is the worst of six. Middle repeat harms most, by far, from 3 to 25 blocks.
# Beyond, where hardly any of the model is left, skip and parallel are worse.
#
# **Between the ends it depends on the range.**
#
# - *Up to seven blocks* the sink's block stays in place, and no pair disagrees with the paper beyond noise. Parallel
#   is level with random and perhaps milder than reverse; skip against reverse is undecided.
# - *With nine blocks* the sink's block is affected. Reverse, random order and skip lose about six nats and more at
#   once (skip three fewer again at eleven), while parallel and its loop lose less than one more.
# - *From nine to 15 blocks* the order changes: parallel is milder than random and reverse, and so is skip. The paper
#   does not find that leaving blocks out is milder than another order of them.
# - *From 17 on* skip is worse than random again, and only parallel against reverse contradicts the paper.
#
# **Tau is weak evidence**: with six variants, 0.60 is as likely by chance as one in seven. Its interval, like all
# here, covers the choice of examples, not that of the shuffles.
#
# "The middle layers share a representation space" predicts that order should matter little. Up to seven blocks another
# order costs about a nat; with nine it costs seven and more. [Another notebook](14_one_block.ipynb) separates the
# number of blocks from the one block, with seven blocks at every position.
