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
# **Claim of the paper.** Parallel is graceful except on GSM8K. Fig. 16 shows one answer that is sound in form and
# wrong in arithmetic.
#
# **Measured.** One answer cannot show which kind of error it is. Here the form of many answers and their arithmetic
# are counted separately, and both are compared with answers to other questions.
#
# **Answer, on the built-in tasks.** The claim holds in part: up to nine blocks the form survives and the arithmetic
# does not, but the errors are not miscounts, as many questions get the same number.
#
# Data: `sums.json` of [results.mk](results.mk), by [write_sums.py](write_sums.py): the first 48 questions of
# `builtin:arithmetic`, each after four worked lines, answered freely under the full model, parallel, parallel three
# times, and skip. SmolLM2-135M solves none of the first 16 problems of GSM8K (`problems.nc`, where `LAYERSCOPE_DATA`
# has them), so it gets sums only.
#
# Up to 13 of 30 blocks are affected: further out no form is left to sort, and 48 questions are already a thousand
# answers, each generated token by token. One block in parallel is the full model, so M = 1 is left out.

# %%
import json
import re

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

import layerscope as ls
from layerscope.figures.parts.looks import LOOKS
from layerscope.figures.parts.style import MISSING, SMALL
from layerscope.schedules.spec import parse_spec
from resampling import one_number, weights
from notebook_io import DATA, Findings, keep, keep_table, result_path, panels, display_text

NAME = "09_sums"
findings = Findings(NAME)
depth = int(ls.open_sweep(result_path("sweep.nc")).attrs["num_blocks"])
sums = json.loads(result_path("sums.json").read_text())
answers = pd.DataFrame(sums["answers"])
specs = [parse_spec(name) for name in answers.schedule]
answers["variant"], answers["affected"] = [s.variant for s in specs], [s.affected(depth) for s in specs]
answers = answers[answers.affected != 1]
VARIANTS = ("parallel", "looped_parallel", "skip")
counted = sorted(set(answers.affected) - {0})
display_text(f"{sums['model']}: {answers.id.nunique()} sums, {answers.schedule.nunique()} schedules.")

# %% [markdown]
# ## Answers side by side
#
# The output of the full model for the first eight questions, and with M blocks in parallel.

# %%
shown = answers[answers.id.isin(answers.id.unique()[:8]) & answers.variant.isin(["identity", "parallel"])]
side_by_side = shown.pivot(index="question", columns="affected", values="written")
side_by_side.rename(columns=lambda count: f"M = {count}" if count else "full model").rename_axis(columns=None)

# %% [markdown]
# ## The errors, sorted
#
# An answer is a number if it has no other text (a full stop may follow). Each answer gets the first kind that fits, in
# this order: *right*; *near*, at most 3 away; *one digit*, as many digits and one of them wrong; *operand*, one of the
# two numbers of the question; *other number*; *not a number alone*.

# %%
KINDS = ("right", "near", "one digit", "operand", "other number", "not a number alone")


def number_of(written: str) -> str | None:
    """Return the number in an answer that is a number alone."""
    alone = re.fullmatch(r"\s*(-?[0-9]+)\.?\s*", written)
    return alone and alone[1]


def kind(answer: pd.Series) -> str:
    """Return the kind of an answer."""
    number, right = number_of(answer.written), answer.right
    if number is None:
        return "not a number alone"
    if abs(int(number) - int(right)) <= 3:
        return "right" if int(number) == int(right) else "near"
    if len(number) == len(right) and sum(a != b for a, b in zip(number, right, strict=True)) == 1:
        return "one digit"
    return "operand" if number in re.findall(r"\d+", answer.question) else "other number"


answers["kind"] = answers.apply(kind, axis=1)
counts = answers.groupby(["variant", "affected", "kind"]).size().unstack(fill_value=0)
counts = counts.reindex(columns=KINDS, fill_value=0)
keep_table(counts, NAME)
counts

# %%
colours = [*matplotlib.colormaps["viridis"](np.linspace(0.95, 0.1, len(KINDS) - 1)), MISSING]
bars = [("identity", 0), *((name, count) for name in VARIANTS for count in counted)]
group = np.array([0, *np.repeat((1, 2, 3), len(counted))])
places = np.arange(len(bars)) + 0.6 * group
percent = 100 * counts.div(counts.sum(axis=1), axis=0)
key = [Patch(facecolor=colour, label=name) for name, colour in zip(KINDS, colours, strict=True)]
with panels(key=key, width="double", height=0.24) as (figure, (axes,)):
    floor = np.zeros(len(bars))
    for name, colour in zip(KINDS, colours, strict=True):
        height = percent.loc[bars, name].to_numpy()
        axes.bar(places, height, bottom=floor, color=colour, width=0.8, edgecolor="white", linewidth=0.4)
        floor += height
    axes.set(ylabel="answers (percent)", ylim=(0, 100), xlim=(-0.7, places[-1] + 0.7))
    axes.set_xticks(places[1:], [count for _, count in bars[1:]])
    below = {"textcoords": "offset points", "va": "top", "annotation_clip": False}
    for number, name in enumerate(("identity", *VARIANTS)):
        place = (places[group == number].mean(), 0)
        axes.annotate(LOOKS[name].name, place, xytext=(0, -13), ha="center", **below)
    axes.annotate("M =", (places[1] - 0.5, 0), xytext=(0, -4), ha="right", fontsize=SMALL, **below)
keep(figure, NAME)

# %% [markdown]
# ## Does the form survive?
#
# The share of answers that are a number alone, by the number of affected blocks:

# %%
alone, until = 1 - counts["not a number alone"] / counts.sum(axis=1), {}
for name in VARIANTS:
    lost = [count for count in counted if alone[name, count] < 0.5]
    until[name] = max((count for count in counted if count < min(lost, default=np.inf)), default=0)
    display_text(
        f"{LOOKS[name].name}: most answers are numbers, up to M = {findings.add(f'{name}_form_until', until[name])}."
    )
alone[list(VARIANTS)].unstack().round(2)

# %% [markdown]
# ## Does the arithmetic survive where the form does?
#
# From here on, only the M at which most answers are numbers under all three schedules.
#
# - *dealt*: the level of chance. Answers are assigned to the *other* questions, and the share that is then right, or
#   near among the wrong ones, is counted.
# - *beyond*: the difference from that level.
# - *same*: the share of pairs of questions that get the same answer.
#
# Intervals are over questions, each drawn with all of its answers.

# %%
over = weights("sums", answers.id.nunique())
pairs = np.einsum("dq,dr->dqr", over, over)
pairs[:, *np.diag_indices(over.shape[1])] = 0
total = pairs.sum((1, 2), keepdims=True)  # zero if a draw repeats a single question
pairs = np.divide(pairs, total, out=np.full_like(pairs, np.nan), where=total > 0)
fair = [count for count in counted if count <= min(until.values())] or counted


def shares(own: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return shares of answers, mean over schedules, for own and for dealt answers: [1 + draw] each."""
    total = {}
    for _, one in own.groupby("schedule", sort=False):
        number = np.array([float(number_of(text) or "nan") for text in one.written])
        apart = np.abs(number[:, None] - one.right.astype(float).to_numpy())
        texts = one.written.str.strip().to_numpy()
        holds = {"right": apart == 0, "near": (apart > 0) & (apart <= 3), "wrong": apart != 0}
        values = {name: over @ np.diag(of) for name, of in holds.items()}
        values |= {f"{name}_dealt": np.einsum("dqr,qr->d", pairs, of) for name, of in holds.items()}
        values["same"] = np.einsum("dqr,qr->d", pairs, texts[:, None] == texts)
        total = {name: total.get(name, 0) + of / own.schedule.nunique() for name, of in values.items()}
    for suffix in ("", "_dealt"):
        total[f"near{suffix}"] = total[f"near{suffix}"] / np.maximum(total.pop(f"wrong{suffix}"), 1e-9)
    return total | {f"{name}_beyond": total[name] - total[f"{name}_dealt"] for name in ("right", "near")}


share = {
    name: shares(answers[(answers.variant == name) & answers.affected.isin([0, *fair])])
    for name in ("identity", *VARIANTS)
}
rights = answers[answers.variant == "identity"].right.to_numpy()
same = findings.add("answers_same", (pairs[0] * (rights[:, None] == rights)).sum())
apart = findings.add("near_apart", *one_number(share["parallel"]["near"] - share["skip"]["near"]))
display_text(f"M = {', '.join(map(str, fair))}. Near errors of parallel beyond those of skip: {apart}.")
display_text(f"Of pairs of questions {same} have the same right answer.")
pd.DataFrame(
    {
        LOOKS[name].name: {
            which: findings.add(f"{name}_{which}", *one_number(of)) for which, of in sorted(share[name].items())
        }
        for name in share
    }
)

# %% [markdown]
# ## Word problems
#
# The paper's example is from GSM8K. With `LAYERSCOPE_DATA`, the first 16 test questions follow five worked examples,
# under the full model and with 3 and 7 blocks in parallel. The number after the last #### has to be right.

# %%
if DATA == "benchmarks":
    problems = ls.open_sweep(result_path("problems.nc")).isel(task=0)
    for run, spec in enumerate(problems.schedule.values.astype(str)):
        one = problems.isel(run=run)
        right = findings.add(f"problems_{spec}", one.accuracy, one.accuracy_low, one.accuracy_high)
        display_text(f"{spec}: {right} of {int(problems.examples)} right.")

# %% [markdown]
# ## Result on the built-in tasks
#
# **The form outlives the arithmetic, but not by much.** Up to nine blocks in parallel nearly every answer is a number
# alone; with eleven none is. Under skip the form ends at seven: with nine a third of the answers have it. Nine blocks
# are also the first range with block 11, which writes the sink, so perhaps skip lacks this block.
#
# The arithmetic is lost at once. With three to seven blocks in parallel three answers in a hundred are right, against
# 29 for the full model. Whether that is more than chance is undecided. Run three times, parallel keeps a little:
# seven.
#
# **The wrong answers are not miscounts.** Near misses are about twice as frequent as by chance, but at most one wrong
# answer in ten. Whether parallel has more of them than skip is undecided. Instead many questions get the same number:
# two drawn at random agree in four cases of ten, against three of a hundred for the full model. So perhaps the
# question is lost rather than the carry.
#
# All of this is for one small model that has less than a third of these sums right to begin with.
