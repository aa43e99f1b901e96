"""Compare the content of two files of one kind, without their provenance."""

from pathlib import Path

import xarray as xr

import layerscope as ls
from layerscope.results import read_training

STATES = ("hidden", "final_norm")
_ELSEWHERE = ("provenance",)


def same_capture(path: Path, other: Path, states: bool = True) -> bool:
    """Compare two captures; without `states`, everything except the states, which have no checksum."""
    with ls.open_capture(path) as one, ls.open_capture(other) as two:
        left_out = () if states else STATES
        return _same(one.drop_vars(left_out, errors="ignore"), two.drop_vars(left_out, errors="ignore"))


def same_states(path: Path, other: Path) -> bool:
    """Compare only the states and tokens of two captures."""
    with ls.open_capture(path) as one, ls.open_capture(other) as two:
        return all(one[name].equals(two[name]) for name in ("hidden", "token_id"))


def same_sweep(path: Path, other: Path) -> bool:
    """Compare two sweeps, except for their running times."""
    one, two = (ls.open_sweep(each).drop_vars("seconds") for each in (path, other))
    return _same(one, two)


def same_analysis(path: Path, other: Path) -> bool:
    """Compare two analyses."""
    return _same(*map(ls.open_analysis, (path, other)))


def same_training(path: Path, other: Path) -> bool:
    """Compare two analyses over training."""
    return _same(*map(read_training, (path, other)))


def same_bytes(path: Path, other: Path) -> bool:
    """Compare two files of any kind."""
    return path.read_bytes() == other.read_bytes()


def _same(one: xr.Dataset, other: xr.Dataset) -> bool:
    attributes = [
        {name: value for name, value in each.attrs.items() if name not in _ELSEWHERE} for each in (one, other)
    ]
    return one.equals(other) and xr.Dataset(attrs=attributes[0]).identical(xr.Dataset(attrs=attributes[1]))
