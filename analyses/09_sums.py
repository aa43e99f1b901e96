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
# # Fig. 16: what goes wrong with sums when the middle runs in parallel
#
# The paper shows an answer to a word problem under Parallel whose sentences are sound and whose arithmetic is wrong.
# SmolLM2-135M solves no such problems to begin with, so this asks for sums by themselves: the 48 first questions of
# `builtin:arithmetic`, each after four worked lines, answered in the model's own words under the full model, parallel,
# parallel three times, and skip.
#
# `sums.json` of [results.mk](results.mk), written by [write_sums.py](write_sums.py) with greedy `ls.generate`.

# %%
import json
import re

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

import layerscope as ls
from layerscope.evaluation.intervals import drawn
from layerscope.figures.style import GREY
from layerscope.schedules.spec import parse_spec
from resampling import one_number
from shelf import DATA, Findings, axes_for, keep, keep_table, made, say

NAME = "09_sums"
found = Findings(NAME)
sums = json.loads(made("sums.json").read_text())
answers = pd.DataFrame(sums["answers"])
say(f"{sums['model']}: {answers.id.nunique()} sums, {answers.schedule.nunique()} schedules.")

# %% [markdown]
# ## Side by side

# %%
shown = answers[answers.id.isin(list(dict.fromkeys(answers.id))[:8])]
side_by_side = shown.pivot(index="question", columns="schedule", values="written")
kept = ["identity", *[name for name in side_by_side if name.startswith("parallel")]]
side_by_side[sorted(kept, key=lambda name: -parse_spec(name).start if name != "identity" else -99)]

# %% [markdown]
# ## The errors, sorted
#
# *near*: a number at most 3 away from the right one. *one digit*: as many digits, one of them wrong. *operand*: one of
# the two numbers of the question. *other number*, and *no number* at all.

# %%
KINDS = ("right", "near", "one digit", "operand", "other number", "no number")


def kind(answer: pd.Series) -> str:
    """Say which kind of answer was written."""
    number = re.match(r"\s*(-?\d+)", answer.written)
    if number is None:
        return "no number"
    written, right = int(number[1]), int(answer.right)
    if written == right:
        return "right"
    if abs(written - right) <= 3:
        return "near"
    if len(number[1]) == len(answer.right) and sum(a != b for a, b in zip(number[1], answer.right, strict=True)) == 1:
        return "one digit"
    return "operand" if number[1] in re.findall(r"\d+", answer.question) else "other number"


answers["kind"] = answers.apply(kind, axis=1)
counts = answers.groupby(["schedule", "kind"]).size().unstack(fill_value=0).reindex(columns=KINDS, fill_value=0)
counts["variant"] = [parse_spec(name).variant for name in counts.index]
counts["start"] = [parse_spec(name).start for name in counts.index]
counts = counts.sort_values(["variant", "start"], ascending=[True, False])
keep_table(counts, NAME)
counts

# %%
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", GREY)
order = ["identity", *[name for name in counts.index if name != "identity"]]
with axes_for("double", height=2.6) as (figure, axes):
    floor = np.zeros(len(order))
    for name, colour in zip(KINDS, COLOURS, strict=True):
        axes.bar(order, counts.loc[order, name], bottom=floor, color=colour, label=name, width=0.8)
        floor += counts.loc[order, name].to_numpy()
    axes.set(ylabel="answers", ylim=(0, floor.max() * 1.3))
    short = [name.replace("looped_parallel", "looped").split(":loops")[0] for name in order]
    axes.set_xticks(range(len(order)), ["full model", *short[1:]], rotation=90)
    axes.set_position((0.07, 0.26, 0.91, 0.71))
    axes.legend(ncols=6, loc="upper center")
keep(figure, NAME)

# %% [markdown]
# ## Are the errors of Parallel of another kind?
#
# One block alone in parallel is the full model, so the latest start is left out here. Among wrong answers, the share
# that is a number at all, and the share of near ones, under parallel and under skip, over the same starts; intervals
# from drawing the questions again.

# %%
questions = list(dict.fromkeys(answers.id))
weights = np.vstack([np.ones(len(questions)), drawn(len(questions), 1000, 0) * len(questions)])
repeated = pd.DataFrame(weights.T, index=questions)
starts = counts[counts.variant == "parallel"].start
altered = answers[[parse_spec(spec).start < starts.max() for spec in answers.schedule]]
for name in ("identity", "parallel", "looped_parallel", "skip"):
    own = altered[[parse_spec(spec).variant == name for spec in altered.schedule]]
    weight = repeated.loc[own.id].to_numpy()
    right = (weight * (own.kind == "right").to_numpy()[:, None]).sum(0) / weight.sum(0)
    wrong = weight * (own.kind != "right").to_numpy()[:, None]
    near = (wrong * (own.kind == "near").to_numpy()[:, None]).sum(0) / np.maximum(wrong.sum(0), 1e-9)
    none = (wrong * (own.kind == "no number").to_numpy()[:, None]).sum(0) / np.maximum(wrong.sum(0), 1e-9)
    same = own.groupby("schedule").written.agg(lambda texts: texts.value_counts(normalize=True).iloc[0]).mean()
    say(
        f"**{name}**: right {found.add(f'{name}_right', *one_number(right[0], right[1:]))};",
        f"of the wrong ones near {found.add(f'{name}_near', *one_number(near[0], near[1:]))},",
        f"no number {found.add(f'{name}_none', *one_number(none[0], none[1:]))}.",
        f"The commonest answer is {found.add(f'{name}_commonest', same)} of all.",
    )

# %%
by_variant = counts[counts.start < starts.max()].groupby("variant")[list(KINDS)].sum()
tables = [[by_variant.loc[name, "near"], by_variant.loc[name, list(KINDS[2:])].sum()] for name in ("parallel", "skip")]
test = fisher_exact(tables)
say(f"Near errors, parallel against skip: odds ratio {found.add('near_odds', test.statistic)}, p = {test.pvalue:.2g}.")
found.add("near_p", test.pvalue)

# %% [markdown]
# ## Word problems
#
# The paper's example is of GSM8K: with `LAYERSCOPE_DATA`, its first 16 test questions after five worked examples, under
# the full model and with 3 and 7 blocks in parallel. The number after the last #### has to be right.

# %%
if DATA == "benchmarks":
    problems = ls.open_sweep(made("problems.nc")).isel(task=0)
    for run, spec in enumerate(problems.schedule.values.astype(str)):
        one = problems.isel(run=run)
        right = found.add(f"problems_{spec}", one.accuracy, one.accuracy_low, one.accuracy_high)
        say(f"{spec}: {right} of {int(problems.examples)} right.")

# %% [markdown]
# ## What it says, on the built-in tasks
#
# The form survives and the arithmetic does not, as in the paper: under parallel every answer still begins with a
# number, up to thirteen blocks side by side, and almost none is right. Three blocks in parallel take most of what this
# model knows of sums. But the errors are not those of somebody who miscounts. From five blocks on many questions get
# one and the same number, whatever they ask: what is lost is the question, not the carry. Near misses are no more
# frequent than under skip, from which the errors of parallel differ in one thing: skip at last forgets that a number
# was asked for.
