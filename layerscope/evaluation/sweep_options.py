"""The options of a sweep: one frozen record.

`layerscope.sweep`, the check of a resumed sweep and the provenance of a file all read `SweepOptions`. This module imports no
model.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from layerscope.errors import MOST_DRAWS, UsageError, at_least
from layerscope.evaluation.sweep_plan import Schedules, SweepPlan, plan_sweep
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack

__all__ = ["SweepOptions"]


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Options that decide which schedules a sweep runs, on which tasks, and how it scores them.

    The fields are parameters of `layerscope.sweep` and are documented there.

    Raises
    ------
    UsageError
        An option that is wrong for every model.

    Examples
    --------
    >>> SweepOptions(task="builtin:cloze", bootstrap=0).statistics
    {'bootstrap': 0, 'seed': 0, 'chance': {}, 'latency_tokens': 0}
    """

    task: str | Sequence[str]
    variants: str | Sequence[str] | None = None
    schedule: Schedules = ()
    starts: str | Iterable[int] = "all"
    seeds: int = 10
    loops: str | int | Iterable[int] = 3
    limit: int | None = None
    include_path: str | os.PathLike[str] | None = None
    bootstrap: int = 1000
    latency: bool = False
    latency_tokens: int = 64
    chance: Mapping[str, float] | None = None
    batch_tokens: int = 2048
    fuse: int = 1
    dtype: str | None = None
    device: str | None = None
    device_map: DeviceMap | None = None
    stack: Stack | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(
            1, batch_tokens=self.batch_tokens, seeds=self.seeds, latency_tokens=self.latency_tokens, fuse=self.fuse
        )
        at_least(0, most=MOST_DRAWS, bootstrap=self.bootstrap)
        at_least(0, seed=self.seed)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> "SweepOptions":
        """Return the options among the arguments of a function that takes these and others."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    @cached_property
    def tasks(self) -> list[str]:
        """Names of the tasks, each once."""
        return [self.task] if isinstance(self.task, str) else list(dict.fromkeys(self.task))

    @property
    def timed_tokens(self) -> int:
        """Tokens of a timed sequence; 0 when nothing is timed."""
        return self.latency_tokens if self.latency else 0

    @property
    def statistics(self) -> dict[str, Any]:
        """Options of the statistics, as settings and provenance record them."""
        return {
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "chance": dict(self.chance or {}),
            "latency_tokens": self.timed_tokens,
        }

    def check_chance(self) -> None:
        """Raise a UsageError if a score of guessing is given for a task that is not in the sweep."""
        for name in self.chance or {}:
            if name not in self.tasks:
                raise UsageError(f"chance of {name}: this is not a task of the sweep ({', '.join(self.tasks)})")

    def plan(self, depth: int) -> SweepPlan:
        """Return the runs on a model of `depth` blocks; see `layerscope.evaluation.sweep_plan.plan_sweep`."""
        return plan_sweep(
            depth,
            variants=self.variants,
            schedule=self.schedule,
            starts=self.starts,
            seeds=self.seeds,
            loops=self.loops,
        )

    def settings(
        self, *, model: str, weights: object, dtype: str, examples: Sequence[str], runs: Sequence[str]
    ) -> dict[str, Any]:
        """Return the settings that must match on resume, as journals and sweep files store them.

        Parameters
        ----------
        model, weights, dtype
            Name of the model, the commit or hash of its weights, and the type in which it computes.
        examples
            Digest of each task's prompts and items.
        runs
            Schedules, in order.
        """
        return {
            "model": model,
            "weights": weights,
            "dtype": dtype,
            "tasks": self.tasks,
            "limit": self.limit,
            "examples": examples,
            "runs": runs,
            "batch_tokens": self.batch_tokens,
            **({"fuse": self.fuse} if self.fuse > 1 else {}),
            **self.statistics,
        }
