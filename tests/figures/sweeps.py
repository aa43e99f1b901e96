"""Sweeps to draw, made by the contract of the sweep file: what a small model of 30 blocks might give."""

import random

import numpy as np
import xarray as xr

from layerscope.schedules.reference_states import reference_states
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.variant import VARIANTS

RANGE_VARIANTS = [variant.name for variant in VARIANTS.values() if variant.place == "start"]
TASKS = {  # full model's loss, loss of a broken model, accuracy, chance
    "builtin:cloze": (2.1, 9.5, 0.62, 0.0),
    "builtin:commonsense": (2.9, 8.5, 0.71, 0.5),
    "builtin:arithmetic": (1.4, 8.0, 0.44, 0.0),
    "lm-eval:arc_challenge": (2.6, 9.0, 0.43, 0.25),
}
HARM = {"middle_repeat": 2.6, "skip": 1.5, "reverse": 1.25, "parallel": 1.0, "random": 0.9, "looped_parallel": 0.75}


def specs(depth=30, variants=RANGE_VARIANTS, starts=None, seeds=10, loops=(3,)):
    """Return the SPECs of a sweep, the full model's first."""
    found = ["identity"]
    for name in variants:
        place, option = VARIANTS[name].place, VARIANTS[name].option
        blocks = depth if name == "drop" else depth - 1
        places = range(blocks) if place == "block" else range((depth - 2) // 2 + 1) if starts is None else starts
        options = {"seed": range(seeds), "loops": loops, None: [None]}[option]
        found += [
            f"{name}:{number}" + ("" if value is None else f":{option}={value}")
            for number in places
            for value in options
        ]
    return found


def synthetic(schedules=None, tasks=tuple(TASKS), depth=30, intervals=True, drifts=True, examples=40):
    """Return a sweep Dataset of the contract with smooth, ordered, slightly noisy results."""
    schedules = specs(depth) if schedules is None else schedules
    parsed = [parse_schedule(text, depth) for text in schedules]
    draw = np.random.default_rng(0)
    columns = {
        "schedule": [str(spec) for spec, _ in parsed],
        "variant": [spec.variant for spec, _ in parsed],
        "start": [spec.start for spec, _ in parsed],
        "seed": [spec.seed for spec, _ in parsed],
        "loops": [spec.loops for spec, _ in parsed],
        "affected": [spec.affected(depth) for spec, _ in parsed],
        "stages": [len(schedule) for _, schedule in parsed],
    }
    harm = np.array([harm_of(spec, depth) for spec, _ in parsed])
    shape = (len(tasks), len(parsed))
    facts = np.array([TASKS.get(task, (2.0, 9.0, 0.6, 0.2)) for task in tasks])
    full, broken, best, chance = (facts[:, [column]] for column in range(4))
    pace = np.linspace(0.8, 1.4, len(tasks))[:, None]
    noise = np.where(harm > 0, draw.normal(1.0, 0.02, shape), 1.0)
    loss = full + (broken - full) * (1.0 - np.exp(-((pace * harm) ** 1.4))) * noise
    accuracy = chance + (best - chance) * np.exp(-((2.0 * pace * harm) ** 1.5)) * noise
    values = {
        "loss": (loss, 0.12),
        "loss_difference": (loss - full, 0.06),
        "perplexity": (np.exp(1.2 * loss), None),
        "accuracy": (accuracy, 0.04),
        "accuracy_norm": (np.minimum(1.0, 1.05 * accuracy), 0.04),
        "normalized": ((accuracy - chance) / (best - chance), 0.05),
    }
    sweep = xr.Dataset(coords={"task": list(tasks), **{name: ("run", np.array(c)) for name, c in columns.items()}})
    sweep["chance"] = ("task", chance[:, 0])
    for name, (value, half) in values.items():
        sweep[name] = (("task", "run"), value)
        if intervals:
            low, high = (value / 1.3, value * 1.3) if half is None else (value - half, value + half)
            sweep[f"{name}_low"], sweep[f"{name}_high"] = (("task", "run"), low), (("task", "run"), high)
    sweep["example_loss"] = (("task", "run", "example"), np.repeat(loss[..., None], examples, axis=-1))
    sweep["examples"] = ("task", np.full(len(tasks), examples))
    if drifts:
        add_drifts(sweep, harm, draw)
        add_stages(sweep, [schedule for _, schedule in parsed], depth)
    return sweep


def add_drifts(sweep, harm, draw):
    """Put the drifts in, and a rank correlation of each with loss."""
    shape = sweep["loss"].shape
    moved = np.where(harm > 0, 1.0 - np.exp(-1.5 * harm * draw.normal(1.0, 0.12, shape)), 0.0)
    sweep["drift_cosine"] = (("task", "run"), moved)
    sweep["drift_norm"] = (("task", "run"), 1.4 * moved + 3.0 * moved**4)
    sweep["drift_cka"] = (("task", "run"), 0.7 * moved**2)
    sweep.coords["drift"] = ["drift_cosine", "drift_norm", "drift_cka"]
    level = np.linspace(0.95, 0.85, shape[0])[:, None] * np.array([1.0, 0.98, 0.9])
    for suffix, shift in (("", 0.0), ("_low", -0.03), ("_high", 0.02)):
        sweep[f"rank_correlation{suffix}"] = (("task", "drift"), level + shift)


def add_stages(sweep, schedules, depth):
    """Put variance and drift after each stage in, and the states of the full model that these are held against."""
    reference = np.full((len(schedules), max(map(len, schedules))), -1)
    for run, schedule in enumerate(schedules):
        reference[run, : len(schedule)] = reference_states(schedule, depth)
    way = np.where(reference > 0, reference / depth, np.nan)
    sweep["reference_state"] = (("run", "stage"), reference)
    moved = sweep["drift_cosine"].values[..., None] * way
    sweep["drift_cosine_stage"] = (("task", "run", "stage"), moved)
    sweep["variance_stage"] = (("task", "run", "stage"), np.exp(4 * way + 2 * moved))


def harm_of(spec, depth):
    """Return how far a schedule is from the full model, 0 for the full model."""
    share = spec.affected(depth) / depth
    if spec.variant in ("identity", "explicit"):
        return 0.0
    if spec.variant in ("drop", "swap"):
        edge = np.exp(-spec.start / 1.2) + 0.5 * np.exp(-(depth - 1 - spec.start) / 1.2)
        return 0.04 + (0.9 if spec.variant == "drop" else 0.5) * edge
    if spec.variant in ("reverse", "random", "parallel", "middle_repeat") and spec.affected(depth) == 1:
        return 0.0
    harm = HARM.get(spec.variant, 0.3) * share
    if spec.variant == "random":
        harm *= random.Random(31 * spec.seed + spec.start).uniform(0.75, 1.3)
    if spec.variant == "looped_parallel":
        harm *= 1.0 + 0.5 * abs(np.log(spec.loops / (0.25 + 0.3 * spec.affected(depth))))
    return float(harm)
