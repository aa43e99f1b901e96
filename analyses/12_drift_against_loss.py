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
# # Beyond the paper: does drift predict loss?
#
# **Question.** The paper looks at similarity of states and at scores, separately. Does the drift of the last state
# from the full model's predict the loss of a run?
#
# **Measured.** Three drifts as predictors of loss on the same tokens, compared with each other and with the simplest
# rival, the number of affected blocks M.
#
# **Answer, on the built-in tasks.** Yes: drift ranks the runs by their loss better than M does, and the plain cosine
# is best.
#
# Data: `sweep.nc` of [results.mk](results.mk), with all variants from all starts, all single blocks dropped and
# swapped, and 36 examples a task (12 of the benchmarks). `drift_cosine` is 1 - cos, `drift_norm` the length of the
# difference over that of the full model's state, `drift_cka` 1 - debiased CKA. All are taken at the last state before
# the final norm, without the first token of each text.

# %%
import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

import layerscope as ls
from layerscope.evaluation.bootstrap import correlation
from layerscope.evaluation.sweep_plan import RANGE_VARIANTS
from resampling import ends, known_mean, one_number, tasks_of, weights
from notebook_io import Findings, as_called, keep, keep_table, result_path, display_text

NAME = "12_drift_against_loss"
NEAR = 3
every, findings = ls.open_sweep(result_path("sweep.nc")), Findings(NAME)
tasks, drifts = tasks_of(every), [str(name) for name in every.drift.values]
PREDICTORS = [*drifts, "affected"]

# %% [markdown]
# ## Which runs count
#
# Some runs are the same computation: one block reversed, shuffled or in parallel is the full model, and three blocks
# have few orders. Runs with the same loss on every example count once; those that equal the full model are left out.

# %%
losses = every.example_loss.transpose("run", "task", "example").values.reshape(every.sizes["run"], -1)
_, first = np.unique(np.nan_to_num(losses.round(4), nan=-1), axis=0, return_index=True)
sweep = every.isel(run=np.sort(first))
altered = sweep.isel(run=slice(1, None))
variants, loss = altered.variant.values, altered.loss.transpose("task", "run").values
predictor = {name: np.broadcast_to(altered[name].values.astype(float), loss.shape) for name in PREDICTORS}
near = altered.loss_difference.transpose("task", "run").values < NEAR
columns = ["schedule", "variant", "start", "seed", "affected", "loss", "loss_difference", *drifts]
keep_table(altered[columns].to_dataframe().reset_index("run", drop=True)[columns], NAME)
whole, again = every.sizes["run"] - 1, every.sizes["run"] - sweep.sizes["run"]
display_text(f"{sweep.attrs['model']}, {', '.join(tasks)}: {findings.add('runs', len(variants))} runs of {whole};")
display_text(f"{again} are the full model or one of the others. {near.mean():.0%} lose less than {NEAR} nats a token.")

# %% [markdown]
# ## Rank correlation: which predictor is best?
#
# Spearman's correlation of each predictor with the loss over the runs of a task, averaged over tasks. "Below 3 nats"
# are the runs that lose less than that a token, where the model still works. "Ranges" are the six range variants,
# without the single blocks dropped and swapped, whose M is always 1 or 2 and can rank nothing.
#
# All intervals of this notebook draw whole variants, since runs of one variant are alike. Eight variants are few, and
# runs of different variants at one start are alike as well. So the intervals are rough and perhaps too narrow; they do
# not cover other models, tasks and examples.

# %%
names = np.unique(variants)
over = weights("variants", len(names))
repeated = np.round(over * len(names)).astype(int)[:, np.searchsorted(names, variants)]
draws = [np.repeat(np.arange(len(variants)), often) for often in repeated]


def correlations(name: str, only: np.ndarray) -> np.ndarray:
    """Return the rank correlation with the loss over some runs, task by task: [1 + draw, task]."""
    values = np.empty((len(draws), len(tasks)))
    for number, draw in enumerate(draws):
        for row in range(len(tasks)):
            some = draw[only[row][draw]]
            values[number, row] = correlation(predictor[name][row, some], loss[row, some])
    return values


ranges = np.broadcast_to(np.isin(variants, RANGE_VARIANTS), near.shape)
SUBSETS = {"": np.ones_like(near), "near": near, "ranges": ranges, "near_ranges": near & ranges}
WORDS = {"": "all", "near": f"below {NEAR} nats", "ranges": "ranges", "near_ranges": f"ranges below {NEAR} nats"}
by_subset = {subset: {name: correlations(name, only) for name in PREDICTORS} for subset, only in SUBSETS.items()}
rows = {name: {} for name in PREDICTORS}
for subset, of_tasks in by_subset.items():
    mean = {name: known_mean(values, axis=1) for name, values in of_tasks.items()}
    best, prefix = max(mean, key=lambda name: mean[name][0]), f"{subset}_" if subset else ""
    for name, values in mean.items():
        column = f"{prefix or 'correlation_'}{name}"
        rows[name][WORDS[subset]] = findings.add(column, *one_number(values))
        behind = "" if name == best else findings.add(f"{prefix}behind_{name}", *one_number(mean[best] - values))
        rows[name][f"{WORDS[subset]}: behind the best"] = behind
display_text(
    "Pairs of run and task: " + ", ".join(f"{WORDS[subset]} {only.sum()}" for subset, only in SUBSETS.items()) + "."
)
display_text(f"{findings.add('shuffles', (variants == 'random').sum())} of the runs are shuffles.")
pd.DataFrame.from_dict(rows, orient="index").T

# %%
low, high = ends(np.stack([by_subset[""][name] for name in drifts], axis=-1))
value = np.stack([by_subset[""][name][0] for name in drifts], axis=-1)
own = {"rank_correlation": value, "rank_correlation_low": low, "rank_correlation_high": high}
shown = as_called(sweep.assign({name: (("task", "drift"), of) for name, of in own.items()}))
keep(ls.figures.drift(shown, drifts[0]), NAME)

# %% [markdown]
# ## Prediction in nats
#
# A rising curve (isotonic regression) is fitted to loss against a predictor on all variants but one, and then predicts
# that one, task by task. The error is the mean absolute difference over the runs of a variant, then over tasks and
# variants, in nats a token. The baseline predicts the median loss.

# %%
errors = {name: np.full((len(tasks), len(variants)), np.nan) for name in (*PREDICTORS, "median")}
for row in range(len(tasks)):
    for variant in names:
        held, rest = variants == variant, variants != variant
        errors["median"][row, held] = np.abs(loss[row, held] - np.median(loss[row, rest]))
        for name in PREDICTORS:
            along = predictor[name][row]
            curve = IsotonicRegression(out_of_bounds="clip").fit(along[rest], loss[row, rest])
            errors[name][row, held] = np.abs(loss[row, held] - curve.predict(along[held]))
means = {name: np.array([of[:, variants == variant].mean() for variant in names]) for name, of in errors.items()}
least = min(PREDICTORS, key=lambda name: means[name].mean())
rows = {name: {"error": findings.add(f"error_{name}", *one_number(over @ of))} for name, of in means.items()}
for name in [name for name in rows if name != least]:
    behind = findings.add(f"error_behind_{name}", *one_number(over @ (means[name] - means[least])))
    rows[name]["beyond the least"] = behind
pd.DataFrame.from_dict(rows, orient="index").fillna("")

# %% [markdown]
# ## Result on the built-in tasks
#
# **Drift predicts loss, and better than the number of affected blocks.** Drift of the last state ranks the runs very
# well, over variants and starts. The plain cosine is best: over all runs it is ahead of the relative norm, of CKA and
# of M.
#
# **Among runs that lose less than 3 nats a token** all predictors are weaker, and between cosine and norm it is
# undecided. M falls far behind, but more than half of these runs are single blocks, which M cannot order by
# construction.
#
# **Among range variants** M ranks well. It is behind the cosine by 0.10 over all of them, an interval that begins at
# 0, and by 0.19 below 3 nats. So the number of affected blocks predicts much of the harm; the drift predicts it
# better, and that of single blocks too.
#
# **In nats** the cosine errs by 1.4, M and CKA by 2.8, and the median loss by 6.7. Perhaps CKA is weaker because it
# ignores rotations, while the head still misreads a rotated last state.
#
# **No drift is a perfect predictor.** In the figure it stays near 1 once the state points nowhere near the full
# model's, and the loss keeps rising.
