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
# # Fig. 10: how often should parallel blocks run, and does a scale replace the loops?
#
# **Claim of the paper.** Looped parallel runs the M affected blocks in parallel, feeds their mean back, and does so R
# times. The best R is roughly proportional to M.
#
# **Measured.** The loss for 1 to 28 loops from every start, and, beyond the paper, for one pass whose summed updates
# are scaled. In a model with residual connections, the mean of outputs is the stream plus **the mean update**. One
# pass therefore adds 1/M of what the M blocks add in sequence, and looping may only make up for that. If so, a single
# pass with a larger scale, x + (c/M) · sum of updates, should do as well.
#
# **Answer, on the built-in tasks.** The best number of loops rises with M, but only from three to nine blocks. A scale
# replaces the loops only in part.
#
# Data: `loops.nc` (`layerscope sweep`) and `scaled.nc` ([scale_updates.py](scale_updates.py), c from 0.5 to 28) of
# [results.mk](results.mk). Both use the same 20 examples of one task (8 of LAMBADA), as the map takes 420 runs.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import layerscope as ls
from layerscope.figures.data.loop_map import best_loops, loop_map
from layerscope.figures.parts.legend_entries import band_entry, legend_entry, level_entry
from layerscope.figures.parts.looks import LOOKS, Look
from layerscope.figures.parts.markers import FULL, draw_level, draw_points
from layerscope.figures.parts.style import GREY
from resampling import ends, one_number, task_scores, tasks_of, weights
from notebook_io import Findings, keep, keep_table, result_path, panels, display_text

NAME = "04_loops"
findings = Findings(NAME)
loops, scaled = ls.open_sweep(result_path("loops.nc")), xr.load_dataset(result_path("scaled.nc"), engine="h5netcdf")
display_text(
    f"{loops.attrs['model']}, {loops.attrs['num_blocks']} blocks, {int(loops.examples[0])} examples of {scaled.attrs['task']}."
)

# %% [markdown]
# ## Loss for every number of loops and of blocks

# %%
keep(ls.figures.loops(loops, "loss_difference"), NAME)

# %%
best = loop_map(loops, "loss_difference")
slope, affected, counts = best.proportion, best.affected, best.loops
whole = findings.add("loops_a_block", slope.loops_a_block, slope.low, slope.high)
display_text(f"Best loops a block, by least squares through the origin, over all M: {whole}.")
pd.DataFrame({"best loops": best.best, "low": best.low, "high": best.high}, index=pd.Index(affected, name="affected")).T

# %% [markdown]
# ## Is it a proportion?
#
# A proportion is compared with a constant and with a line with an intercept. Each is fitted to the best counts by
# least squares, once over all M and once up to half of the blocks, where the model still works. M = 1 is left out,
# because one pass of it is the full model by construction.
#
# The error is the root mean square, in loops. Intervals come from finding the best counts again in 1,000 draws of
# examples, and errors are compared draw by draw.

# %%
place = {(int(a), int(r)): run for run, (a, r) in enumerate(zip(loops.affected, loops.loops, strict=True))}
grid = np.array([[place[m, r] for m in affected] for r in counts])
(task,) = tasks_of(loops)
drawn = task_scores(loops, task)["loss_difference"][:, grid]  # [1 + draw, loops, affected]
chosen = np.stack([best_loops(values, counts, better=-1) for values in drawn])  # [1 + draw, affected]
FORMS = {
    "constant": lambda m: [np.ones_like(m)],
    "proportional": lambda m: [m],
    "affine": lambda m: [np.ones_like(m), m],
}
rows, errors = {}, {}
for words, most in (("half", loops.attrs["num_blocks"] / 2), ("all", np.inf)):
    seen = (affected > 1) & (affected <= most)
    for form, terms in FORMS.items():
        design = np.stack(terms(affected[seen].astype(float)), axis=1)
        fit, *_ = np.linalg.lstsq(design, chosen[:, seen].T, rcond=None)
        errors[words, form] = error = np.sqrt(((design @ fit - chosen[:, seen].T) ** 2).mean(0))
        rows[words, form] = {
            "loops a block": findings.add(f"slope_{form}_{words}", *one_number(fit[-1])) if form != "constant" else "",
            "error": findings.add(f"error_{form}_{words}", *one_number(error)),
        }
    for worse, better in (("constant", "proportional"), ("proportional", "affine")):
        beyond = one_number(errors[words, worse] - errors[words, better])
        text = findings.add(f"error_{worse}_beyond_{better}_{words}", *beyond)
        display_text(f"{words}: the error of {worse} beyond that of {better} is {text} loops.")
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Beyond the paper: a scale in place of loops
#
# The best of 28 counts against the best of 11 scales. Choosing and reporting on the same examples would favour both,
# and the larger set more. So the best is chosen on one half of the examples and its loss measured on the other, and
# the reverse.

# %%
full = scaled.full_example_loss.values
by_scale = (
    scaled.example_loss.transpose("scale", "start", "example").values[:, ::-1] - full
)  # starts from the last: M rises
by_loops = loops.example_loss.isel(task=0).transpose("run", "example").values[grid] - full  # [loops, affected, example]
assert np.array_equal(scaled.affected.values[::-1], affected)
once = int(np.flatnonzero(scaled.scale.values == 1)[0])
np.testing.assert_allclose(by_scale[once], by_loops[0], atol=1e-3)  # c = 1 is parallel, as is one pass

examples = weights(task, len(full))
halves = [np.arange(len(full)) % 2 == half for half in (0, 1)]


def mean_over(loss: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return the mean loss of these examples in every draw: [draw, setting, affected]."""
    total = np.maximum(examples[:, half].sum(1), 1e-9)
    return np.einsum("sae,de->dsa", loss[..., half], examples[:, half]) / total[:, None, None]


def held_out(loss: np.ndarray) -> np.ndarray:
    """Return the loss of the best setting, chosen on one half and measured on the other: [draw, affected]."""
    first, second = (mean_over(loss, half) for half in halves)
    read = [
        np.take_along_axis(other, one.argmin(1, keepdims=True), axis=1)[:, 0]
        for one, other in ((first, second), (second, first))
    ]
    return np.mean(read, axis=0)


lines = {"parallel, once": mean_over(by_loops[:1], np.full(len(full), True))[:, 0]}
lines |= {"best number of loops": held_out(by_loops), "best scale of the updates": held_out(by_scale)}
apart = lines["best scale of the updates"] - lines["best number of loops"]
table = pd.DataFrame({name: values[0] for name, values in lines.items()}, index=pd.Index(affected, name="affected"))
table["best loops"], table["best c"] = best.best, scaled.scale.values[by_scale.mean(2).argmin(0)]
table["scale beyond loops"] = apart[0]
table["scale beyond loops, low"], table["scale beyond loops, high"] = ends(apart)
keep_table(table, NAME)

# %%
looks = dict(zip(lines, (LOOKS["parallel"], LOOKS["looped_parallel"], Look("scale", GREY, "D")), strict=True))
key = [*(legend_entry(look, name) for name, look in looks.items()), band_entry("95 % interval"), level_entry(FULL)]
with panels(key=key) as (figure, (axes,)):
    for name, values in lines.items():
        low, high = ends(values)
        draw_points(axes, affected.astype(float), values[0], looks[name], low=low, high=high, band=True)
    draw_level(axes, 0.0, FULL)
    axes.set(
        xlabel=f"number of affected blocks, M (of {loops.attrs['num_blocks']})", ylabel="loss increase (nats per token)"
    )
keep(figure, NAME + "-scaled")

# %%
half = (affected > 1) & (affected <= loops.attrs["num_blocks"] / 2)
most = affected[half][np.argmax(apart[0][half])]  # where the two are furthest apart
rest = half & (affected != most) if half.sum() > 1 else half
without = findings.add("half_apart_without_most", *one_number(apart[:, rest].mean(1)))
display_text(
    f"They are furthest apart at M = {findings.add('half_apart_most', most)}; without it {without} nats apart, up to half."
)
better = [int(count) for count, high in zip(affected, ends(apart)[1], strict=True) if high < 0]
display_text(f"The scale is better beyond noise at M = {', '.join(map(str, better)) or 'no M'}.")
findings.add("scale_better", len(better))
once, looped, rescaled = (values[:, half].mean(1) for values in lines.values())
for name, values in {"once": once, "loops": looped, "scale": rescaled, "apart": rescaled - looped}.items():
    mean = findings.add(f"half_{name}", *one_number(values))
    display_text(
        f"From 3 blocks to half of all, {name if name != 'apart' else 'scale beyond loops'}: {mean} nats a token."
    )
regained = np.divide(once - rescaled, once - looped, out=np.full(len(once), np.nan), where=once > looped)
display_text(f"Of what loops regain, a scale regains {findings.add('half_regained', *one_number(regained))}.")

# %% [markdown]
# ## Result on the built-in tasks
#
# **More blocks need more loops, up to a point.** From three to nine blocks the best number rises from three to seven.
# It then stays at six or seven up to 23 blocks. At the very end, where the model is broken and any change is for the
# better, it rises to the largest number tried.
#
# Up to half of the blocks, the errors of a proportion (about one pass for two blocks) and of a constant do not differ
# beyond noise; a rising line with an intercept is better than a proportion, barely. Over all M a proportion is better
# than a constant, because of the widest ranges. The paper, too, has exceptions there.
#
# **A scale does not replace the loops, up to half of the blocks.** Most of the difference is at eleven blocks, the
# only single range where the scale is worse beyond noise; without that range the difference could be zero. The scale
# regains about half of what loops regain, with a wide interval. Up to eleven blocks the best scale is two or three,
# while the best number of loops rises from three to seven. So looping makes up for the small step of a mean only in
# part. Perhaps the rest is what a block gains by reading the outputs of the others.
#
# Beyond half of the blocks the scale is often the better of the two, twice beyond noise; at 29 blocks the loops are,
# beyond noise too. At these losses neither is of use.
