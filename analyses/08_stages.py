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
# # Fig. 15: skip against middle repeat, stage by stage
#
# **Claim of the paper.** Leaving the middle blocks out harms less than running the middle block in place of each. For
# Llama2-7B with N = 13 of 32 (five blocks affected), middle repeat makes the states drift away and their variance
# explode in the last two layers, while skip keeps the pattern of the full model.
#
# **Measured.** Similarity, variance and drift after each block under both schedules, here with N = 12 of 30: again
# five blocks, 13 to 17.
#
# **Answer, on the built-in texts and tasks.** Pattern and drift agree with the paper. The variance does not explode in
# the last two layers: it grows less there than in the full model.
#
# Data: similarities, and the variance of all tokens, are from captures of the built-in passages under each schedule
# (`smollm2-skip.nc`, `smollm2-middle_repeat.nc` of [results.mk](results.mk)), with intervals from 200 draws of texts.
# Drift, and the variance without the first token of each text, are from the sweep of the tasks (`sweep.nc`, 36
# examples each, 12 of the benchmarks), which covers every start. It stores sums over examples, so these have no
# intervals; the range over tasks is shown instead.
#
# The paper does not define variance. Here it is the variance over tokens, averaged over features.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from layerscope.figures.parts.axes import set_value_axis
from layerscope.figures.parts.legend_entries import legend_entry
from layerscope.figures.parts.looks import LOOKS
from resampling import one_number, over_tasks, runs_of, tasks_of, with_draws
from notebook_io import Findings, keep, keep_table, result_path, matrices, panels, display_text

NAME = "08_stages"
findings = Findings(NAME)
sweep = ls.open_sweep(result_path("sweep.nc"))
captures = {"identity": "smollm2.nc", "skip": "smollm2-skip.nc", "middle_repeat": "smollm2-middle_repeat.nc"}
analyses = {name: xr.open_dataset(result_path(file), engine="h5netcdf") for name, file in captures.items()}
PAIR, depth = ("skip", "middle_repeat"), int(sweep.attrs["num_blocks"])
start = int(analyses["skip"].attrs["schedule"].split(":")[1])
affected = depth - 2 * start - 1
display_text(f"{sweep.attrs['model']}, N = {start}: blocks {start + 1} to {depth - start - 1}, {affected} of {depth}.")

# %% [markdown]
# ## Similarity between the states
#
# The paper's cosine flattens each text and is mostly that of its first token ([Fig. 3](02_similarity.ipynb)); per
# token, all tokens have the same weight. Everything is drawn at the states of the full model. Grey are the states that
# skip leaves out.

# %%
states = {name: np.arange(depth + 1) for name in analyses}
states["skip"] = np.concatenate([np.arange(start + 2), np.arange(depth - start + 1, depth + 1)])
MEASURES = {"cosine_sequence": "cosine, flattened", "cosine": "cosine per token"}


def placed(values: np.ndarray, name: str) -> np.ndarray:
    """Return a run's similarities at the states of the full model, NaN where the run lacks a state: [..., state, state]."""
    whole = np.full((*values.shape[:-2], depth + 1, depth + 1), np.nan)
    whole[..., states[name][:, None], states[name]] = values
    return whole


shown = {
    title: [
        analyses["identity"][measure].copy(data=placed(result[measure].values, name))
        for name, result in analyses.items()
    ]
    for measure, title in MEASURES.items()
}
figure, _ = matrices(shown, [LOOKS[name].name for name in analyses], "state of the full model")
keep(figure, NAME + "-similarity")

# %% [markdown]
# ## How similar is the pattern to the full model's?
#
# The correlation of the two matrices over the states that both have, without the affected ones. Two things are removed
# first:
#
# - pairs of states before the affected blocks, which are the same in all runs;
# - the fall of similarity with distance, which any two such matrices share: the mean over the pairs of a distance is
#   subtracted from each.

# %%
kept = np.array([state for state in range(depth + 1) if state <= start + 1 or state > depth - start])
rows, others = np.triu_indices(len(kept), 1)
changed = kept[others] > start + 1
rows, others = kept[rows[changed]], kept[others[changed]]


def pattern(name: str, measure: str, plain: bool) -> np.ndarray:
    """Return similarities of the pairs with their draws, minus the mean at their distance: [1 + draw, pair]."""
    values = placed(with_draws(analyses[name], measure), name)[:, rows, others].astype(np.float64)
    for distance in () if plain else np.unique(others - rows):
        same = others - rows == distance
        values[:, same] -= values[:, same].mean(1, keepdims=True)
    return values - values.mean(1, keepdims=True)


alike = {}
for measure, title in MEASURES.items():
    for name in PAIR:
        for plain, words in ((False, "distance taken away"), (True, "as they are")):
            one, other = pattern(name, measure, plain), pattern("identity", measure, plain)
            values = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
            key = (
                f"pattern_{name}" + ("_flattened" if measure == "cosine_sequence" else "") + ("_plain" if plain else "")
            )
            alike.setdefault(f"{title}, {words}", {})[name] = findings.add(key, *one_number(values))
pd.DataFrame(alike).T

# %% [markdown]
# ## Variance and drift after each block
#
# Each value is drawn at the state of the full model that it is compared with. Values from the sweep are medians over
# tasks. With all tokens the three lines coincide: the huge value of the first token is nearly all of the variance, and
# no affected block changes it.

# %%
STAGED = ("variance_stage", "drift_cosine_stage")


def staged(name: str, begin: int) -> dict[str, np.ndarray]:
    """Return a quantity of the sweep at each state of a run, NaN where there is none: [task, state]."""
    (run,) = [0] if name == "identity" else runs_of(sweep, name, depth - 2 * begin - 1, depth - 2 * begin - 1)
    at, whole = sweep.reference_state.values[run], np.full((len(STAGED), sweep.sizes["task"], depth + 1), np.nan)
    for number, quantity in enumerate(STAGED):
        whole[number][:, at[at > 0]] = sweep[quantity].transpose("task", "run", "stage").values[:, run, at > 0]
    return dict(zip(STAGED, whole, strict=True))


lines, table = {name: staged(name, start) for name in analyses}, []
titles = ("variance, all tokens", "variance, first token left out", "drift, 1 − cosine")
key = [legend_entry(LOOKS[name]) for name in analyses]
with panels(titles, key, "double", height=0.72) as (figure, places):
    for panel, (axes, title) in enumerate(zip(places, titles, strict=True)):
        for number, (name, look) in enumerate((name, LOOKS[name]) for name in analyses):
            shown = np.full(depth + 1, np.nan)  # the line of skip has a gap at the states that it leaves out
            if panel:
                shown[:] = np.median(lines[name][STAGED[panel - 1]], axis=0)
            else:
                shown[states[name]] = analyses[name].variance.values
            wide = {
                "linewidth": 2.4 - 0.8 * number,
                "markersize": 4.4 - 1.2 * number,
            }  # lines that coincide stay visible
            axes.plot(shown, color=look.colour, marker=look.marker, **wide)
            table += [(title, name, state, shown[state]) for state in map(int, np.flatnonzero(np.isfinite(shown)))]
        set_value_axis(axes, logarithmic=panel < 2)
        axes.set(xlabel="state of the full model", ylabel=title.partition(",")[0], xlim=(-0.8, depth + 0.8))
table = pd.DataFrame(table, columns=["quantity", "variant", "state", "value"])
keep_table(table.set_index("quantity"), NAME)
keep(figure, NAME)

# %%
whole, later = analyses["identity"].variance.values, lines["identity"]["variance_stage"]
for name, result in analyses.items():
    own, of = result.variance.values, np.median(lines[name]["variance_stage"], axis=0)
    display_text(
        f"{LOOKS[name].name}: of all tokens, the variance of the last state is",
        f"{findings.add(f'growth_all_{name}', own[-1] / own[-3])} times that of two blocks",
        f"before; without first tokens {findings.add(f'growth_later_{name}', of[-1] / of[-3])} times.",
    )
for name in PAIR:
    drift, own = lines[name]["drift_cosine_stage"][:, -1], analyses[name].variance.values
    ratio = lines[name]["variance_stage"] / later
    most = np.nanmax(ratio[:, start + 2 :], axis=1)
    where = start + 2 + int(np.nanargmax(np.median(ratio, axis=0)[start + 2 :]))
    display_text(
        f"**{LOOKS[name].name}**: the drift of the last state is {findings.add(f'drift_{name}', np.median(drift))}",
        f"({drift.min():.2f} to {drift.max():.2f}). Of all tokens, its variance is",
        f"{findings.add(f'variance_all_{name}', own[-1] / whole[-1])} times that of the full model. Without first tokens it is",
        f"{findings.add(f'variance_{name}', np.median(ratio[:, -1]))} times ({ratio[:, -1].min():.2f} to",
        f"{ratio[:, -1].max():.2f}) that of the full model there, and in any state after the first affected block up to",
        f"{findings.add(f'variance_{name}_most', np.median(most))} times ({most.min():.2f} to {most.max():.2f}),",
        f"the median greatest in state {findings.add(f'variance_{name}_where', where)}.",
    )
last = lines["middle_repeat"]["variance_stage"][:, depth - start] / later[:, depth - start]
display_text(
    f"In the last repeated state the variance is {findings.add('variance_repeated', np.median(last))} times the full model's."
)

# %% [markdown]
# ## The same from every start
#
# All starts from three affected blocks to half, without first tokens: the ratio to the full model, in the last state
# and two blocks before it. Values are the median over tasks, with the lowest and the highest task. The growth over the
# last two blocks is the growth of that ratio.

# %%
loss, every = over_tasks(sweep, "loss_difference", tasks_of(sweep)), {}
for begin in range((depth - 4) // 2, 0, -1):
    count = depth - 2 * begin - 1
    for name in PAIR if count <= depth / 2 else ():
        one, (run,) = staged(name, begin), runs_of(sweep, name, count, count)
        ratio = one["variance_stage"] / later
        numbers = {"two before": ratio[:, -3], "last": ratio[:, -1], "growth": ratio[:, -1] / ratio[:, -3]}
        numbers["drift"] = one["drift_cosine_stage"][:, -1]
        row = {"loss": findings.add(f"loss_{name}_{count}", *one_number(loss[:, run]))}
        for words, values in numbers.items():
            text = findings.add(f"{words.replace(' ', '_')}_{name}_{count}", np.median(values))
            row[words] = f"{text} ({values.min():.2f} to {values.max():.2f})"
        every[f"M = {count}, {name}"] = row
pd.DataFrame.from_dict(every, orient="index")

# %% [markdown]
# ## Result on the built-in texts and tasks
#
# **Skip keeps the pattern, and middle repeat nearly does.** After distance and constant pairs are removed, the
# single-token similarities behind the affected blocks correlate almost fully with the full model's, more so under
# skip. The flattened cosine keeps its pattern under both, because that pattern is the first token's, which neither
# changes with five blocks.
#
# **Middle repeat drifts further** than skip at every start from three affected blocks to half of them, four times as
# far with five.
#
# **The variance does not explode in the last two layers.** Over all tokens the variance is that of the sink, which
# shrinks in the last two blocks of this model under every schedule. So the paper's claim cannot be seen there, true or
# not.
#
# Without first tokens the variance under middle repeat does explode, to five times that of the full model, but it
# grows in the repeated blocks, 13 to 17. Over the last two blocks it grows less than the full model's, on every task
# with five blocks and more. With five blocks it returns to the full model's (the tasks are on both sides of it). With
# more it stays above, tens of times with eleven and more. Perhaps the same block writes the same directions again and
# again. Under skip the median stays within a factor of two.
#
# **Middle repeat also loses more** at every start from three affected blocks to half of them, and its final variance
# is greater from five blocks on. Which of these does the harm is another question; [drift against
# loss](12_drift_against_loss.ipynb) takes it further.
