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
# # Fig. 3: are the middle layers alike, or is it the first token?
#
# **Claim of the paper.** Beginning, middle and ending layers each share a representation space. The evidence is the
# cosine between the states of two layers, with **each text flattened to one vector** of tokens × features.
#
# **Measured.** A flattened cosine is dominated by the few tokens of enormous norm. Here it is compared with measures
# that give them less weight: single tokens, centred tokens and CKA, each with and without the first token of every
# text.
#
# **Answer, on the built-in texts.** The claim holds in part: single tokens show three groups of layers, but the sharp
# block of the flattened cosine comes from the first token.
#
# Data: `smollm2.nc` and `smollm2-later.nc` of [results.mk](results.mk). They have 120 built-in passages (with
# benchmark files, the first 100 of LAMBADA, as in the paper), all 31 states (0 is the embedding), and intervals from
# 200 draws of texts.
#
# Two details differ from the paper, which pads the texts of a batch, flattens the padding too, and drops the last
# token of each text. Here no text is padded and all tokens count.

# %%
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

import layerscope as ls
from layerscope.figures.parts.segments import draw_boxes
from layerscope.figures.parts.axes import set_value_axis
from resampling import one_number, with_draws
from notebook_io import Findings, keep, keep_table, result_path, matrices, panels, display_text

NAME = "02_similarity"
findings = Findings(NAME)
every = xr.open_dataset(result_path("smollm2.nc"), engine="h5netcdf")
later = xr.open_dataset(result_path("smollm2-later.nc"), engine="h5netcdf")
display_text(
    f"{every.attrs['model']} on {every.attrs['texts'].rpartition('/')[2]}, {every.cosine.attrs['tokens']} tokens."
)
display_text(every.attrs["massive_warning"])

# %% [markdown]
# ## Four measures, with and without the first token
#
# The boxes show the best cut of each matrix into three segments.

# %%
MEASURES = {"cosine_sequence": "cosine, flattened", "cosine": "cosine per token"}
MEASURES |= {"cosine_centered": "per token, centred", "cka": "CKA"}
SETS = {"all": every, "later": later}
cuts = {(measure, words): ls.segment(SETS[words][measure]) for measure in MEASURES for words in SETS}
words_of = {"all": "all tokens", "later": "first token left out"}
shown = {words_of[words]: [result[measure] for measure in MEASURES] for words, result in SETS.items()}
figure, places = matrices(shown, list(MEASURES.values()))
for axes, (words, measure) in zip(places, product(SETS, MEASURES), strict=True):
    draw_boxes(axes, cuts[measure, words])
keep(figure, NAME)

# %% [markdown]
# ## Where the sink is
#
# The largest absolute value of any token in each state, with the first token of each text and without.

# %%
top, rest = every.max_abs.values, later.max_abs.values
largest = pd.DataFrame({"all tokens": top, "first token left out": rest})
keep_table(largest.rename_axis("state"), NAME)
begin = int(np.argmax(np.diff(top))) + 1
last = len(top) - 1
end = int(np.flatnonzero(top >= top.max() / 2)[-1])
looks = dict(zip(largest, ("-", "--"), strict=True))
key = [Line2D([], [], linestyle=look, color="black", label=name) for name, look in looks.items()]
with panels(key=key) as (figure, (axes,)):
    for name, look in looks.items():
        axes.plot(largest[name], look, color="black")
    axes.set(xlabel="state", ylabel="largest |x|")
    set_value_axis(axes, logarithmic=True)
keep(figure, NAME + "-largest")

# %%
display_text(
    f"From state {begin - 1} to state {begin}, which is block {begin - 1}, the largest value jumps from",
    f"{findings.add('largest_before', top[begin - 1])} to {findings.add('largest_after', top[begin])}; without first tokens it",
    f"is {findings.add('largest_after_without_first', rest[begin])} there. Before that it was",
    f"{findings.add('largest_earlier', top[:begin].max())} at most (state {int(top[:begin].argmax())}), and other tokens have",
    f"{findings.add('largest_earlier_without_first', rest[:begin].max())}. It is above half of its most up to state {end},",
    f"then {', '.join(f'{value:,.0f}' for value in top[end:])} up to the last state, there still",
    f"{findings.add('largest_last_ratio', top[last] / rest[last])} times the largest of all other tokens.",
    f"All of it is feature {int(every.massive_feature[0])} of the token at position {every.attrs['massive_positions']}.",
)
for name, state in (("begin", begin), ("end", end)):
    findings.add(name, state)

# %% [markdown]
# ## Which blocks of the matrix survive without the first token?
#
# The first table has two similarities that show whether the sink makes a block:
#
# - of its first state to the one before it: a sharp edge has a low value;
# - of its first state to its last: a uniform block has a high value.
#
# The second table describes the three segments: the mean similarity within each, and between the middle and the
# ending.


# %%
def mean_of(values: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Return the mean similarity over pairs of different states, one from each part: [1 + draw]; NaN without pairs."""
    apart = ~np.eye(values.shape[-1], dtype=bool)[rows, columns]
    return values[:, rows, columns][:, apart].mean(1) if apart.any() else np.full(len(values), np.nan)


edges, within = {}, {}
for (measure, words), cut in cuts.items():
    values, name = with_draws(SETS[words], measure), f"{measure}_{words}"
    label = f"{MEASURES[measure]}, {'all tokens' if words == 'all' else 'first left out'}"
    parts = {one: slice(s, s + size) for one, s, size in zip(cut.labels, cut.starts, cut.sizes, strict=True)}
    edges[label] = {
        f"({begin - 1}, {begin})": findings.add(f"{name}_edge", *one_number(values[:, begin - 1, begin])),
        f"({begin}, {end})": findings.add(f"{name}_across", *one_number(values[:, begin, end])),
    }
    within[label] = {"segments": ", ".join(f"{part.start}–{part.stop - 1}" for part in parts.values())}
    for one, part in parts.items():
        findings.add(f"{name}_{one}", part.stop - part.start)
        within[label][one] = findings.add(f"{name}_within_{one}", *one_number(mean_of(values, part, part)))
    between = mean_of(values, parts["middle"], parts["ending"])
    within[label]["middle to ending"] = findings.add(f"{name}_between", *one_number(between))
    within[label]["within - between"] = findings.add(f"{name}_contrast", cut.score)
pd.DataFrame(edges).T

# %%
pd.DataFrame(within).T

# %%
cut, values = cuts["cosine", "all"], with_draws(every, "cosine")
first, stop = cut.starts[1], cut.starts[2]
display_text(
    f"Per token, the least similarity within the middle (states {first} to {stop - 1}) is",
    f"{findings.add('cosine_all_least_middle', *one_number(values[:, first:stop, first:stop].min((1, 2))))}, that of states",
    f"{begin} and {stop - 1} {findings.add('cosine_all_begin_middle', *one_number(values[:, min(begin, stop - 1), stop - 1]))};",
    f"the step at its end, ({stop - 1}, {stop}), is {findings.add('cosine_all_step', *one_number(values[:, stop - 1, stop]))},",
    f"where the median of neighbours is {findings.add('cosine_all_neighbours', np.median(np.diagonal(values[0], 1)))}.",
)

# %% [markdown]
# ## Result on the built-in texts
#
# **The sharp block is the first token.** The flattened cosine shows one block, states 12 to 28, whose two ends are
# alike to two digits: the picture of Fig. 3. Its edge is where block 11 writes one huge feature into the first token.
# Block 28 halves that value and block 29 halves it again, but in the last state it still is several times the largest
# other value. So the best three segments put states 29 and 30 into the last one.
#
# Without the first token, one in fifty, the edge disappears: states 11 and 12 are as alike as other neighbours.
# Centring and CKA do not help while the token is included: their edge and their block remain.
#
# **The three groups survive by the cosine of single tokens, with other borders.** With and without the first token,
# state 0 is separate, states 1 to 24 are alike, and after a step so are states 25 to 30. States 12 and 28 are unlike
# because that step is between them. By this measure the groups are as clear as by the flattened one, and there is no
# edge at the sink.
#
# Within the middle, similarity still falls with distance, and it is lowest between the two ends. One can call this one
# space or a slow drift.
#
# **The flattened cosine without first tokens** cuts at the same step, and also between states 10 and 11. There,
# perhaps, the large values of other tokens in states 3 to 9 end. In the paper's Llama2-7B, massive activations appear
# at layer 2 and disappear at layer 30, and its block is just there.
