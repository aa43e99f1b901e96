"""Campaign: call every public function with wrong arguments and with incomplete datasets.

Each function is called once with valid arguments, then with one argument replaced by a wrong value. A call may return, or raise a
`LayerScopeError` of at most two lines; anything else is a fault.
"""

import random
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import xarray as xr

import layerscope as ls
from layerscope.arguments import checked
from layerscope.errors import LayerScopeError
from layerscope.measures.streaming import Statistics
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.results import read_sweep, read_training, write_result
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec
from layerscope.segmentation.similarity import segment_measure, similarity_of
from tests.campaigns.report import Trial, run
from tests.campaigns.wrong_values import damaged_datasets, wrong_values
from tests.families import tiny_module
from tests.measures.captures import capture as tiny_capture
from tests.measures.captures import walk
from tests.tokenizers import word_tokenizer

LIMIT_S = 20
RIGHT = ("returned", "refused")
_LEFT_OUT = object()


class Target(NamedTuple):
    """A public function and a valid call of it."""

    name: str
    function: Callable[..., Any]
    valid: dict[str, Any]


class Call(NamedTuple):
    """A call with one wrong argument."""

    target: Target
    title: str
    changes: Callable[[], dict[str, Any]]


def model(folder: Path) -> Model:
    """Make a tiny model, in memory and as a folder."""
    module, tokenizer = tiny_module("llama"), word_tokenizer()
    module.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return wrap_module(module, tokenizer, name="tiny")


def targets(folder: Path) -> Iterator[Target]:
    """Yield every public function with a valid call."""
    tiny, texts = model(folder), ["w1 w2 w3 w4 w5 w6", "w3 w4 w5 w1 w2"]
    ls.capture(tiny, texts, folder / "run.h5", spans=True)
    states = tiny_capture(walk(32, 4, 3), [4] * 8, attrs={"model": "tiny@step1", "num_blocks": 3})
    later = states.assign_attrs(model="tiny@step2")
    result = ls.analyze(states, bootstrap=4, null=4)
    between = ls.analyze(states, later, measures="cka", bootstrap=4)
    grown = result.assign_attrs(model="other", num_blocks=3, parameters=2000)
    result = result.assign_attrs(model="one", num_blocks=3, parameters=1000)
    comparison = ls.scaling([result, grown])
    training = ls.over_training([states, later], "cka")
    sweep = ls.sweep(
        tiny, variants="skip,middle_repeat,looped_parallel,drop", loops="2,3", limit=3, bootstrap=5, latency=True
    )
    for name, dataset in {"run": result, "scaling": comparison, "training": training, "sweep": sweep}.items():
        write_result(dataset, folder / f"{name}.nc")
    matrix = result["cosine"]
    segments = ls.segment(matrix)

    options = {"text_field": None, "limit": 2, "max_length": 9, "schedule": "skip:1", "layers": "0-1", "tokens": "last"}
    options |= {"batch_tokens": 64, "final_norm": True, "seed": 1, "backend": "hooks", "store_dtype": "same"}
    measured = {"exclude_first": 0, "bootstrap": 2, "memory": "1GB", "seed": 0}
    control = {"align": "auto", "null": 0, "ceiling": 0, "progress": False}
    loaded = {"dtype": "float32", "device": "cpu"}
    in_memory = dict.fromkeys(loaded)  # a model in memory has its own
    writing = {"output": folder / "out", "resume": False, "overwrite": True}

    yield Target("load_model", ls.load_model, {"source": folder / "model", **loaded, "trust_remote_code": False})
    yield Target("wrap_module", wrap_module, {"module": tiny.module, "tokenizer": tiny.tokenizer, "name": "x"})
    yield Target(
        "capture",
        ls.capture,
        {"model": tiny, "texts": texts, "sinks": (), **writing, "spans": False, **options, "dtype": None},
    )
    yield Target(
        "capture of sinks", ls.capture, {"model": tiny, "texts": texts, "sinks": [Statistics()], "layers": "1"}
    )
    yield Target("capture by name", ls.capture, {"model": folder / "model", "texts": texts, **writing, **loaded})
    yield Target("forecast", ls.forecast, {"model": tiny, "texts": texts, "output": folder / "out", **options})
    yield Target("open_capture", ls.open_capture, {"path": folder / "run.h5", "allow_incomplete": False})
    yield Target("analyze", ls.analyze, {"capture": states, "measures": ["cosine", "norm"], **measured, **control})
    yield Target(
        "analyze two", ls.analyze, {"capture": states, "other": later, "measures": "cka", **measured, **control}
    )
    yield Target(
        "analyze a file", ls.analyze, {"capture": folder / "run.h5", "other": folder / "run.h5", "align": "spans"}
    )
    yield Target(
        "analyze_model", ls.analyze_model, {"model": tiny, "texts": texts, "measures": "norm", **measured, **options}
    )
    yield Target("similarity", ls.similarity, {"capture": states, "measure": "cosine", **measured, **control})
    yield Target("compare", ls.compare, {"capture": states, "other": later, "measure": "cka_biased", **measured})
    yield Target("statistics", ls.statistics, {"capture": states, "measures": "norm", **measured})
    yield Target("open_analysis", ls.open_analysis, {"path": folder / "run.nc"})
    yield Target("open_sweep", ls.open_sweep, {"path": folder / "sweep.nc"})
    yield Target("open_scaling", ls.open_scaling, {"path": folder / "scaling.nc"})
    yield Target("read_training", read_training, {"path": folder / "training.nc"})
    yield Target("read_sweep", read_sweep, {"path": folder / "sweep.nc"})
    yield Target("cite", ls.cite, {"path": folder / "run.nc"})
    yield Target("segment", ls.segment, {"similarity": matrix, "segments": 3, "replicates": result["cosine_bootstrap"]})
    yield Target("segment_measure", segment_measure, {"result": result, "measure": "cosine", "segments": 2})
    yield Target("similarity_of", similarity_of, {"result": result, "measure": "cosine"})
    yield Target("scaling", ls.scaling, {"analyses": [result, grown], "measure": "cosine", "progress": False})
    yield Target(
        "over_training", ls.over_training, {"captures": [states, later], "measure": "cka", "steps": [1, 2], "seed": 0}
    )
    yield Target("best_match", ls.best_match, {"result": between, "measure": "cka"})
    yield Target(
        "evaluate",
        ls.evaluate,
        {
            "model": tiny,
            "task": "builtin:cloze",
            "schedule": "skip:1",
            "limit": 2,
            "include_path": None,
            "batch_tokens": 512,
            **in_memory,
        },
    )
    yield Target(
        "sweep",
        ls.sweep,
        {"model": tiny, "task": ["builtin:cloze"], "variants": ["skip"], "schedule": ["drop:1"], "starts": [0, 1]}
        | {"seeds": 1, "loops": [2], "limit": 2, "include_path": None, **writing, "bootstrap": 2, "latency": False}
        | {"latency_tokens": 2, "chance": {"builtin:cloze": 0.1}, "batch_tokens": 512, **in_memory, "seed": 0},
    )
    yield Target("sweep_grid", ls.sweep_grid, {"dataset": sweep})
    yield Target(
        "generate",
        ls.generate,
        {"model": tiny, "prompt": "w1 w2", "schedule": "skip:1", "max_new_tokens": 2, "temperature": 0.5, "seed": 0}
        | {"stacked": False, **in_memory},
    )
    yield Target("scheduled", _scheduled, {"model": tiny, "schedule": "skip:1", "observe": None, "stacked": False})
    yield Target("Statistics", Statistics, {"measures": "norm", "layer": [0, 1], "layer_name": ["a", "b"], **measured})
    yield Target("Schedule", Schedule, {"stages": [(0,), (1, 2)], "depth": 4})
    yield Target("Spec", _spec, {"variant": "skip", "place": (1,), "option": None, "stages": None})
    for name in ls.variants.__all__:
        function = getattr(ls.variants, name)
        valid = {"depth": 6, "start": 1, "block": 1, "first": 1, "last": 2, "times": 2, "loops": 2, "seed": 0}
        yield Target(
            f"variants.{name}", function, {key: valid[key] for key in function.__annotations__ if key in valid}
        )
    accessor = result.layerscope
    yield Target("layerscope.segment", accessor.segment, {"measure": "cosine", "segments": 2})
    yield Target("layerscope.best_match", between.layerscope.best_match, {"measure": "cka"})
    yield Target("layerscope.analyze", states.layerscope.analyze, {"other": None, "measures": "norm"})
    yield Target("layerscope.compare", states.layerscope.compare, {"other": later, "measure": "cka_biased"})
    yield Target("layerscope.similarity", states.layerscope.similarity, {"measure": "cosine"})
    yield Target("layerscope.statistics", states.layerscope.statistics, {"measures": "norm"})

    wide = {"width": "double"}
    heat = {"by_chance": matrix > 0.5, "title": "x", "low": 0.0, "high": 1.0, "axes": None}
    scored = {"dataset": sweep, "quantity": "loss", "task": None}
    yield Target("heatmap", ls.figures.heatmap, {"similarity": matrix, "segments": segments, **heat, **wide})
    yield Target("panel", ls.figures.panel, {"result": result, "segments": segments, **wide})
    yield Target("profile", ls.figures.profile, {"result": result, "segments": segments, **wide})
    yield Target("match", ls.figures.match, {"result": between, "measure": "cka", **wide})
    yield Target("training", ls.figures.training, {"result": training, **wide})
    yield Target(
        "figures.scaling", ls.figures.scaling, {"dataset": comparison, "measure": "cosine", "exclude_first": 0, **wide}
    )
    yield Target("figures.sweep", ls.figures.sweep, {**scored, "loops": 3, **wide})
    yield Target(
        "tasks", ls.figures.tasks, {"dataset": sweep, "quantity": "loss", "variant": "skip", "loops": 3, **wide}
    )
    yield Target("single", ls.figures.single, {**scored, **wide})
    yield Target("loops", ls.figures.loops, {**scored, **wide})
    yield Target("drift", ls.figures.drift, {"dataset": sweep, "drift": "drift_cosine", "task": None, **wide})
    yield Target("stages", ls.figures.stages, {"dataset": sweep, "schedule": ["skip:0"], "task": None, **wide})
    yield Target("latency", ls.figures.latency, {**scored, "loops": 3, **wide})
    yield Target("save", ls.figures.save, {"figure": plt.figure(), "path": folder / "figure.png"})


def _scheduled(**arguments: Any) -> None:
    with ls.scheduled(**arguments):
        arguments["model"].module(__import__("torch").tensor([[3, 4]]))


@checked
def _spec(variant: Any, place: Any, option: Any, stages: Any) -> None:
    Spec(variant, place, option, stages).schedule(4)


def ending_of(call: Callable[[], object]) -> tuple[str, str]:
    """Return the outcome of a call, and its message."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        return "returned", ""
    except LayerScopeError as error:
        return ("refused" if str(error).count("\n") < 2 else "refused in more than two lines"), str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return type(
            error
        ).__name__, f"{' '.join(str(error).split())[:150]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        signal.alarm(0)
        plt.close("all")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT_S} s")


def misuses(folder: Path) -> Iterator[Call]:
    """Yield calls with one argument that is wrong, missing or unknown."""
    for target in targets(folder):
        yield Call(target, "all valid", dict)
        yield Call(target, "nonsense=1", lambda: {"nonsense": 1})
        for first in list(target.valid)[:1]:
            yield Call(target, f"no {first}", partial(dict, [(first, _LEFT_OUT)]))
        for argument, given in target.valid.items():
            for title, value in wrong_values().items():
                yield Call(target, f"{argument}={title}", partial(dict, [(argument, value)]))
            for title, make in damaged_datasets(given) if isinstance(given, xr.Dataset) else ():
                yield Call(target, f"{argument}={title}", lambda n=argument, make=make: {n: make()})
            for title, make in damaged_datasets(given[0]) if _are_datasets(given) else ():
                yield Call(
                    target, f"first of {argument}={title}", lambda n=argument, m=make, g=given: {n: [m(), *g[1:]]}
                )


def _are_datasets(given: object) -> bool:
    return isinstance(given, list) and isinstance(given[0], xr.Dataset)


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Make a random sample of `count` calls."""
    calls = list(misuses(Path.cwd()))
    for target, title, changes in random.Random(seed).sample(calls, min(count, len(calls))):
        arguments = {name: value for name, value in {**target.valid, **changes()}.items() if value is not _LEFT_OUT}
        ending, words = ending_of(partial(target.function, **arguments))
        if title == "all valid" and ending != "returned":
            ending = "valid call failed"
        yield Trial(target.name, ending, f"{title}: {words}")


if __name__ == "__main__":
    run("misuse of the Python interface", RIGHT, trials, 20_000)
