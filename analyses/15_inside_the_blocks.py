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
# # Beyond the paper: which part of a block writes the sink, and which removes it?
#
# **Question.** In SmolLM2, block 11 writes the sink, the massive value in the first token of every text ([Fig.
# 3](02_similarity.ipynb)). Is it the attention of that block or its MLP? And what removes it before the last state?
#
# **Measured.** What attention and MLP of each block add to the residual stream: the size of the addition relative to the
# state, for all tokens, without first tokens, and for first tokens alone; and the value that each adds to the sink's
# feature in the first token.
#
# **Answer, on the built-in texts.** In SmolLM2 one MLP writes the sink and two MLPs remove most of it; attention adds next
# to nothing to it. In Gemma 3 270M, MLPs write it too, in many steps. Averages over tokens show the writing and hide the
# removal.
#
# Data: `smollm2.h5` and `gemma3.h5` of [results.mk](results.mk), captured with `--streams resid,attn,mlp`;
# `…-blocks.nc` and `…-blocks-later.nc` are their measures of blocks, with first tokens and without. They have 120 built-in
# passages (with benchmark files, the first 100 of LAMBADA). Intervals are from draws of texts.

# %%
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterMathtext

import layerscope as ls
from layerscope.figures.parts.axes import set_value_axis, set_whole_axis, share_values
from layerscope.figures.parts.legend_entries import legend_entry
from layerscope.figures.parts.looks import PARTS
from layerscope.figures.parts.markers import draw_points
from layerscope.figures.parts.style import GREY
from resampling import ends, one_number, weights
from notebook_io import Findings, display_text, keep, keep_table, model_name, panels, result_path

NAME = "15_inside_the_blocks"
findings = Findings(NAME)
MODELS, SETS = ("smollm2", "gemma3"), ("all tokens", "first token left out", "first token alone")
MEASURES = ["attn_ratio", "mlp_ratio", "attn_cosine", "mlp_cosine"]
ENDS = ("", "_low", "_high")
SUB_LAYERS = {part: PARTS[part] for part in ("attn", "mlp")}


def first_tokens(name: str) -> xr.Dataset:
    """Return the rows at position 0 of a capture, one a text."""
    with ls.open_capture(result_path(f"{name}.h5")) as capture:
        return capture.isel(token=np.flatnonzero(capture.position.values == 0)).load()


first = {name: first_tokens(name) for name in MODELS}
TITLES = {name: model_name(rows.attrs["model"]) for name, rows in first.items()}
measured = {}
for name in MODELS:
    files = [ls.open_analysis(result_path(f"{name}-blocks{ending}.nc")) for ending in ("", "-later")]
    alone = ls.analyze(first[name], measures=MEASURES, bootstrap=files[0].attrs.get("bootstrap", 200))
    measured[name] = dict(zip(SETS, [*files, alone], strict=True))
    display_text(
        f"{alone.attrs['model']} on {alone.attrs['texts'].rpartition('/')[2]}: {files[0].mlp_ratio.attrs['tokens']} tokens,",
        f"{first[name].sizes['token']} of them first.",
    )

# %% [markdown]
# ## The size of the additions
#
# The norm of what attention and MLP of a block add over the norm of the state that enters the block, the mean over tokens.
# Bands are 95 % intervals.

# %%
titles = [f"{TITLES[name]}\n{words}" for name, words in product(MODELS, SETS)]
with panels(titles, [legend_entry(look) for look in SUB_LAYERS.values()], "double", 0.7) as (figure, places):
    for row, name in enumerate(MODELS):
        own = places[row * len(SETS) : (row + 1) * len(SETS)]
        for axes, words in zip(own, SETS, strict=True):
            result = measured[name][words]
            for part, look in SUB_LAYERS.items():
                value, low, high = (result[f"{part}_ratio{end}"].values for end in ENDS)
                draw_points(axes, result.block.values * 1.0, value, look, low=low, high=high, band=True, size=2.2)
            set_whole_axis(axes, 0, int(result.block[-1]))
            set_value_axis(axes, logarithmic=True)
            axes.yaxis.set_major_formatter(LogFormatterMathtext())
            axes.set_xlabel("block" if name == MODELS[-1] else "")
        share_values(own)
        own[0].set_ylabel("norm of addition / state")
keep(figure, NAME)

# %% [markdown]
# ## Who writes the sink
#
# The sink's feature is the one with the largest mean over first tokens in any state between two blocks. Bars: what
# attention and MLP of each block add to it, the mean over texts. Line: its value in the state after the block.


# %%
sinks = {}
for name, rows in first.items():
    means = np.abs(rows.hidden.mean("token").values[1:-1])
    peak, feature = np.unravel_index(means.argmax(), means.shape)
    draws = weights(name, rows.sizes["token"])
    values = {of: rows[of].values[..., feature].astype(np.float64) for of in ("hidden", "attn_out", "mlp_out")}
    sinks[name] = {of.removesuffix("_out"): draws @ some for of, some in values.items()}
    sinks[name] |= {"peak": int(peak) + 1, "feature": int(feature)}
line = Line2D([], [], color=GREY, label="state after the block")
key = [*(legend_entry(look, joined=False) for look in SUB_LAYERS.values()), line]
with panels(list(TITLES.values()), key, "double") as (figure, places):
    for axes, sink in zip(places, sinks.values(), strict=True):
        block = np.arange(sink["mlp"].shape[1])
        axes.plot(block, sink["hidden"][0, 1:] / 1000, color=GREY, zorder=1.5)
        for aside, (part, look) in zip((-0.2, 0.2), SUB_LAYERS.items(), strict=True):
            axes.bar(block + aside, sink[part][0] / 1000, 0.4, color=look.colour)
            axes.vlines(block + aside, *ends(sink[part] / 1000), color="black", linewidth=0.6)
        axes.axhline(0, color="black", linewidth=0.6)
        set_whole_axis(axes, 0, int(block[-1]))
        set_value_axis(axes)
        axes.set(xlabel="block", ylabel=f"feature {sink['feature']}, first token (thousands)")
keep(figure, NAME + "-sink")

# %%
names, tables = [measure + end for measure in MEASURES for end in ENDS], {}
for name, sink in sinks.items():
    values = {f"{part}_added": sink[part] for part in SUB_LAYERS} | {"state_before": sink["hidden"][:, :-1]}
    added = {
        key + end: of for key, some in values.items() for end, of in zip(ENDS, (some[0], *ends(some)), strict=True)
    }
    sizes = [result[names].to_dataframe()[names].add_suffix(f", {words}") for words, result in measured[name].items()]
    tables[TITLES[name]] = pd.concat([pd.DataFrame(added), *sizes], axis=1)
keep_table(pd.concat(tables, names=["model", "block"]), NAME).iloc[:, :9:3].round(1)

# %% [markdown]
# ## In numbers
#
# The writer is the block that adds most to the feature before its peak, the remover the one that takes most from it
# afterwards. *MLPs for 90 %*: the fewest blocks whose MLPs make up 90 % of what all MLPs add up to the peak, or
# take afterwards. Gemma's texts all begin with the same token, which reads no other, so its numbers have no interval.


# %%
def fewest(parts: np.ndarray) -> int:
    """Return how many of the largest parts make up 90 % of their sum."""
    return int(np.argmax(np.cumsum(np.sort(parts)[::-1]) >= 0.9 * parts.sum())) + 1


def quoted(label: str, value: float, *interval: float) -> str:
    """Add a number to the findings; without its interval where all texts begin with the same token."""
    interval = () if np.allclose(interval, interval[:1], rtol=1e-6) else interval
    return findings.add(label.lower().replace(" % ", "_").replace(" ", "_"), value, *interval)


shown, found = {}, {}
for name, sink in sinks.items():
    state, attn, mlp, peak = sink["hidden"], sink["attn"], sink["mlp"], sink["peak"]
    both, sign = attn + mlp, np.sign(state[0, peak])
    writer = int(np.argmax(sign * both[0, :peak]))
    remover = peak + int(np.argmin(sign * both[0, peak:]))
    found[name] = {"feature": sink["feature"], "writer": writer, "peak": peak, "remover": remover}
    numbers = found[name] | {
        "state before the writer": state[:, writer],
        "attention of the writer adds": attn[:, writer],
        "MLP of the writer adds": mlp[:, writer],
        "largest state before the writer": state[:, np.abs(state[0, : writer + 1]).argmax()],
        "state before the remover": state[:, remover],
        "MLP of the remover adds": mlp[:, remover],
        "last state": state[:, -1],
        "part that remains": state[:, -1] / state[:, peak],
        "part of the growth by MLPs": mlp[:, :peak].sum(1) / both[:, :peak].sum(1),
        "MLPs for 90 % of the growth": fewest(sign * mlp[0, :peak]),
        "MLPs for 90 % of the removal": fewest(-sign * mlp[0, peak:]),
    }
    shown[TITLES[name]] = {
        words: quoted(f"{name} {words}", *(one_number(of) if np.ndim(of) else (of,))) for words, of in numbers.items()
    }
pd.DataFrame(shown)

# %% [markdown]
# ## What the mean over tokens shows
#
# The size and the direction of the MLP's addition in the two blocks, with and without first tokens. A cosine of −1 means that
# the MLP takes away from the state.


# %%
def at_block(result: xr.Dataset, measure: str, block: int) -> list[float]:
    """Return a measure of one block, and the ends of its interval."""
    return [float(result[measure + end][block]) for end in ENDS]


shown = {}
for name, what, measure in product(MODELS, ("writer", "remover"), ("attn_ratio", "mlp_ratio", "mlp_cosine")):
    shown[f"{TITLES[name]}, block {found[name][what]} ({what}), {measure}"] = {
        words: quoted(f"{name} {what} {measure} {words}", *at_block(result, measure, found[name][what]))
        for words, result in measured[name].items()
    }
pd.DataFrame(shown).T

# %%
for name in MODELS:
    later = measured[name]["first token left out"]
    larger = [
        later[f"{one}_ratio_low"] > later[f"{other}_ratio_high"] for one, other in (("mlp", "attn"), ("attn", "mlp"))
    ]
    mlp_more, attn_more = (np.flatnonzero(of.values) for of in larger)
    display_text(
        f"{TITLES[name]}, without first tokens: the MLP of block 0 adds",
        f"{quoted(f'{name} mlp_ratio block 0', *at_block(later, 'mlp_ratio', 0))} times the norm of the embedding; the median",
        f"over blocks is {findings.add(f'{name}_mlp_ratio_median', float(later.mlp_ratio.median()))}. The MLP adds more than",
        f"the attention, beyond noise, in {findings.add(f'{name}_mlp_adds_more', len(mlp_more))} blocks, and less in",
        f"{findings.add(f'{name}_attn_adds_more', len(attn_more))}: {', '.join(map(str, attn_more))}.",
    )

# %% [markdown]
# ## Result on the built-in texts
#
# **In SmolLM2 one MLP writes the sink.** From state 11 to state 12 the value of feature 507 in the first token grows several
# hundred times, and all of that is added by the MLP of block 11. Its addition is more than a hundred times as long as the
# state that it is added to. Without first tokens block 11 is an ordinary block: its MLP adds less than the median MLP.
#
# **It is the second sink in the same feature.** The MLPs of blocks 1 and 2 write one of several hundred, those of blocks
# 8 to 10 take it away again, and block 11 then writes one that is thirty times larger.
#
# **From block 12 to block 26 it hardly changes.** Each attention and each MLP adds about a thousandth of the first
# token's state or less, except the attention of block 24, which adds nearly a hundredth.
#
# **Two MLPs remove most of it.** Those of blocks 28 and 29 point against the state; about a tenth of the peak is left in
# the last state.
#
# **The mean over tokens shows the writing and hides the removal.** One token in fifty is enough for block 11, because an
# addition can be of any size. A removal has at most the size of the state, 1 in this measure, so first tokens hardly
# change the mean size in block 28. The mean direction there is near 0, while in first tokens the MLP points almost
# exactly against the state.
#
# **In Gemma 3 270M, MLPs write the sink too, in many steps.** Seven of them make up nine tenths of what all MLPs add, and
# attention adds a ninth of the growth. The MLPs of the last two blocks remove a third. So a single writer is a property of
# SmolLM2; that MLPs write and remove holds for both.
#
# **To add is not to cause.** An MLP reads the state after the attention of its block. Whether it would write
# the sink without that attention is not measured here.
