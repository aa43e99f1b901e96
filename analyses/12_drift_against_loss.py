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
# # Does drift predict loss?
#
# The paper looks at similarity of states and at scores, each by itself. A sweep has both for every run: how far its
# last state is from the full model's on the same tokens, and its loss. Here the drifts are held against each other as
# predictors.
#
# The results are `sweep.nc` of [results.mk](results.mk): all variants from all starts, and all single blocks dropped
# and swapped. `drift_cosine` is 1 - cos, `drift_norm` the length of the difference over that of the full model's state,
# `drift_cka` 1 - debiased CKA, all at the last state before the final norm, the first token of each text left out.

# %%
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

import layerscope as ls
from resampling import one_number
from shelf import Findings, keep, keep_table, made, say

NAME = "12_drift_against_loss"
sweep, found = ls.open_sweep(made("sweep.nc")), Findings(NAME)
DRIFTS = [str(name) for name in sweep.drift.values]
tasks = [str(task) for task in sweep.task.values]
altered = sweep.isel(run=slice(1, None))
columns = ["schedule", "variant", "start", "seed", "affected", "loss", "loss_difference", *DRIFTS]
keep_table(altered[columns].to_dataframe().reset_index("run", drop=True)[columns], NAME)
keep(ls.figures.drift(sweep, DRIFTS[0]), NAME)

# %% [markdown]
# ## Rank correlation, and which is best
#
# Spearman's correlation of each drift with the loss over all runs of a task, then its mean over tasks. Runs of one
# variant are alike, so whole variants are drawn for the intervals, not runs: drawing runs would make the intervals too
# narrow.

# %%
variants = altered.variant.values
names = np.unique(variants)
draw = np.random.default_rng(0)
draws = [
    np.concatenate([np.flatnonzero(variants == name) for name in draw.choice(names, len(names))]) for _ in range(400)
]


def correlation(drift: str, runs: np.ndarray) -> float:
    """Return the mean over tasks of the rank correlation of a drift with the loss."""
    values = [
        np.corrcoef(*(rankdata(altered[name].sel(task=task).values[runs]) for name in (drift, "loss")))[0, 1]
        for task in tasks
    ]
    return float(np.mean(values))


everything = np.arange(len(variants))
value = {drift: correlation(drift, everything) for drift in DRIFTS}
again = {drift: np.array([correlation(drift, runs) for runs in draws]) for drift in DRIFTS}
best = max(value, key=value.get)
rows = {}
for drift in DRIFTS:
    rows[drift] = {"correlation": found.add(f"correlation_{drift}", *one_number(value[drift], again[drift]))}
    if drift != best:
        behind = one_number(value[best] - value[drift], again[best] - again[drift])
        rows[drift]["behind the best"] = found.add(f"behind_{drift}", *behind)
pd.DataFrame.from_dict(rows, orient="index").fillna("")

# %% [markdown]
# ## Prediction, not only order
#
# A rising curve (isotonic regression) is fitted to loss against drift on all variants but one and then predicts that
# one, task by task. The error is the mean of the absolute differences, in nats a token; beside it stands that of
# predicting the median loss.

# %%
errors = {name: [] for name in (*DRIFTS, "median")}
for task in tasks:
    loss = altered.loss.sel(task=task).values
    for name in names:
        held, rest = variants == name, variants != name
        errors["median"] += list(np.abs(loss[held] - np.median(loss[rest])))
        for drift in DRIFTS:
            along = altered[drift].sel(task=task).values
            curve = IsotonicRegression(out_of_bounds="clip").fit(along[rest], loss[rest])
            errors[drift] += list(np.abs(loss[held] - curve.predict(along[held])))
by_group = np.concatenate([[f"{task} {name}"] * int((variants == name).sum()) for task in tasks for name in names])
groups = np.unique(by_group)
means = {
    kind: np.array([np.mean(np.array(values)[by_group == group]) for group in groups])
    for kind, values in errors.items()
}
chosen = draw.integers(len(groups), size=(1000, len(groups)))
pd.Series(
    {kind: found.add(f"error_{kind}", *one_number(of.mean(), of[chosen].mean(1))) for kind, of in means.items()}
).to_frame("error, nats a token")

# %%
near = altered.loss_difference.values < 3
within = {
    drift: float(
        np.mean(
            [
                np.corrcoef(*(rankdata(altered[name].sel(task=task).values[near[row]]) for name in (drift, "loss")))[
                    0, 1
                ]
                for row, task in enumerate(tasks)
            ]
        )
    )
    for drift in DRIFTS
}
for drift in DRIFTS:
    found.add(f"near_{drift}", within[drift])
say(
    "Among runs that lose less than 3 nats a token the correlations are",
    ", ".join(f"{found.add(f'near_{drift}', within[drift])} ({drift})" for drift in DRIFTS) + ".",
)

# %% [markdown]
# ## What it says, on the built-in tasks
#
# Drift of the last state predicts the loss very well, over variants, starts and tasks alike, the plain cosine best. CKA
# is the weakest: it forgives rotations, and a rotated last state is read wrongly by the head all the same. The figure
# shows why no drift is a perfect ruler: once the state points nowhere near the full model's, the drift stays at its end
# and the loss goes on rising.
