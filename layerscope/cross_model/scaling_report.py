"""Print a scaling: as JSON, and as a table on a terminal."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["scaling_as_dict", "scaling_as_lines"]


def scaling_as_dict(scaling: xr.Dataset) -> dict[str, Any]:
    """Return the content of ``layerscope scaling --json``: models, and for each reading sizes, fits and claims."""
    models = [
        {
            "model": str(one.model.item()),
            "depth": int(one.depth),
            "states": int(one.states),
            "parameters": _number(one.parameters, int),
        }
        for one in _along(scaling, "model")
    ]
    return {"models": models, "readings": [_reading(one) for one in _along(scaling, "reading")]}


def scaling_as_lines(scaling: xr.Dataset) -> Iterator[str]:
    """Yield the lines of a table: sizes with intervals, the supported curves, and the verdict on each claim."""
    widest = max(len(str(name)) for name in scaling.model.values)
    for reading in _along(scaling, "reading"):
        entry = _reading(reading)
        left_out = entry["excluded_first"]
        yield f"{entry['measure']}, " + (f"first {left_out} left out" if left_out else "all tokens")
        for model in _along(reading, "model"):
            cells = "   ".join(_cell(of) for of in _along(model, "segment"))
            scale = "" if np.isnan(model.parameters) else f"{_short(float(model.parameters)):>6}"
            yield f"  {model.model.item():<{widest}} {scale} {int(model.states):>4} states   {cells}"
        for segment, fit in entry["fits"].items():
            yield f"  {segment:<9} {_curve(fit)}"
        for claim, result in entry["claims"].items():
            truth = "true" if result["holds"] else "false"
            decided = "" if result["robust"] else "; one model decides"
            yield (
                f"  {claim.replace('_', ' ')}: {result['verdict']} "
                f"({truth} of the sizes; true of {result['support']:.0%} of the replicates{decided})"
            )


def _along(scaling: xr.Dataset, dimension: str) -> list[xr.Dataset]:
    return [scaling.isel({dimension: place}) for place in range(scaling.sizes[dimension])]


def _reading(one: xr.Dataset) -> dict[str, Any]:
    models = {str(of.model.item()): of for of in _along(one, "model")}
    return {
        "measure": str(one.measure.item()),
        "excluded_first": int(one.excluded_first),
        "sizes": {name: of["size"].values.tolist() for name, of in models.items()},
        "sizes_low": {name: of["size_low"].values.tolist() for name, of in models.items()},
        "sizes_high": {name: of["size_high"].values.tolist() for name, of in models.items()},
        "proportions": {name: of["proportion"].values.tolist() for name, of in models.items()},
        "fits": {str(of.segment.item()): _fit(of) for of in _along(one, "segment")},
        "claims": {
            str(of.claim.item()): {
                "holds": bool(of.holds),
                "support": float(of.claim_support),
                "robust": bool(of.robust),
                "verdict": str(of.verdict.item()),
            }
            for of in _along(one, "claim")
        },
        "beginning_trend": [_number(one[f"beginning_trend{end}"]) for end in ("", "_low", "_high")],
    }


def _fit(of: xr.Dataset) -> dict[str, Any]:
    name = str(of.supported.item())
    best = of.sel(form=name)
    return {
        "form": name,
        "support": float(best.support),
        "intercept": [_number(best[f"intercept{end}"]) for end in ("", "_low", "_high")],
        "slope": [_number(best[f"slope{end}"]) for end in ("", "_low", "_high")],
        "left_out_error": _number(best.left_out_error),
    }


def _number(value: xr.DataArray, kind: type[int] | type[float] = float) -> float | int | None:
    return None if np.isnan(value) else kind(value)


def _cell(of: xr.Dataset) -> str:
    low, high = float(of.size_low), float(of.size_high)
    ends = "" if low == high == int(of["size"]) else f" [{low:g}, {high:g}]"
    return f"{of.segment.item()} {int(of['size']):>2}{ends} ({float(of.proportion):.2f})"


def _curve(fit: dict[str, Any]) -> str:
    """Write a fitted curve as a formula with the intervals of its numbers.

    Examples
    --------
    >>> _curve({"form": "constant", "support": 1.0, "intercept": [2.0] * 3, "slope": [0.0] * 3, "left_out_error": 0.1})
    'constant: 2; off by 0.1 layers at a model left out; supported by 100% of the replicates'
    """
    terms = [] if fit["form"] == "proportional" else [_interval(*fit["intercept"])]
    if fit["form"] != "constant":
        along = "log10 parameters" if fit["form"] == "logarithmic" else "states"
        terms.append(f"{_interval(*fit['slope'])} × {along}")
    error = fit["left_out_error"]
    off = "error unknown for so few models" if error is None else f"off by {error:.1f} layers at a model left out"
    return f"{fit['form']}: {' + '.join(terms)}; {off}; supported by {fit['support']:.0%} of the replicates"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3g}" if low == high == value else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _short(count: float) -> str:
    """Return a number of parameters in short form.

    Examples
    --------
    >>> _short(134515008.0), _short(6.9e9), _short(665472.0)
    ('135M', '6.9B', '665k')
    """
    for factor, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            size = count / factor
            return f"{size:.1f}{letter}" if size < 9.95 else f"{size:.0f}{letter}"
    return f"{count:.0f}"
