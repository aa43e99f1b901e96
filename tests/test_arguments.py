"""The argument check of public functions: what is taken as it is, what is turned into its type, what is refused and how."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
import xarray as xr

import layerscope as ls
from layerscope.arguments import Stream, checked
from layerscope.errors import UsageError
from layerscope.models.loading import wrap_module
from layerscope.states import Sink


def received(annotation, value):
    """Return what a function receives that declares this annotation."""

    def keep(argument):
        return argument

    keep.__annotations__["argument"] = annotation
    return checked(keep)(value)


LAYERS = Annotated[str, 'a string such as "0,5-10"']


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (LAYERS | None, [0, 1], 'argument [0, 1] is a list; expected a string such as "0,5-10", or None'),
        (str, None, "argument is None; expected a string"),
        (str, b"x", "argument b'x' is a bytes; expected a string"),
        (int, True, "argument True is a bool; expected a whole number"),
        (int | None, 2.0, "argument 2.0 is a float; expected a whole number, or None"),
        (int, "3", "argument '3' is a str; expected a whole number"),
        (float, 1j, "argument 1j is a complex; expected a number"),
        (bool, "no", "argument 'no' is a str; expected True or False"),
        (bool, 2, "argument 2 is an int; expected True or False"),
        (str | os.PathLike[str], 5, "argument 5 is an int; expected a string or a path"),
        (Sequence[str], "abc", "argument 'abc' is a str; expected a list of strings"),
        (Sequence[int] | str, ["a"], "argument[0] 'a' is a str; expected a whole number"),
        (Sequence[Sequence[int]], [[1], [2, None]], "argument[1][1] is None; expected a whole number"),
        (str | Iterable[str], ["a", 5], "argument[1] 5 is an int; expected a string"),
        (str | Iterable[str], (n for n in (1,)), "argument[0] 1 is an int; expected a string"),
        (str | Stream[str], 5, "argument 5 is an int; expected a string or an iterable of strings"),
        (Mapping[str, float], {"a": "b"}, "argument['a'] 'b' is a str; expected a number"),
        (Mapping[str, float], [1], "argument [1] is a list; expected a mapping"),
        (Sequence[Sink], [5], "argument[0] 5 is an int; expected an object with update()"),
        (
            Sequence[Sink],
            [type("Taker", (), {"update": None})()],
            "argument[0] is a Taker; expected an object with update()",
        ),
        (
            Sequence[Sink],
            [type("Taker", (), {"update": print})],
            "argument[0] is a type; expected an object with update()",
        ),
        (Callable[[int], None] | None, 3, "argument 3 is an int; expected a function, or None"),
        (Literal["a", "b"], "c", "argument 'c' is a str; expected one of 'a', 'b'"),
        (xr.Dataset, {}, "argument {} is a dict; expected a Dataset"),
        (Annotated[int, "an even number", lambda n: n % 2 == 0], 3, "argument 3 is an int; expected an even number"),
        (str, ["x" * 50] * 20, "argument ['xxxxxxxxxxxx"),
        (str | os.PathLike[str], "a\0b", r"argument 'a\x00b': a file name is text without NUL"),
        (str | os.PathLike[str], Path("x" * 300), "argument 'xxx"),
    ],
)
def test_what_is_refused_and_in_which_words(annotation, value, words):
    with pytest.raises(UsageError) as refusal:
        received(annotation, value)
    message = str(refusal.value)
    assert message.removeprefix("received.<locals>.keep: ").startswith(words)
    assert len(message) < 300
    assert "\n" not in message


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, np.int64(3), 3),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (float, Fraction(1, 2), 0.5),
        (str | float, 3, 3.0),
        (bool, np.True_, True),
        (bool, 0, False),
        (Sequence[int], np.arange(3), [0, 1, 2]),
        (Sequence[int], (np.int8(1), 2), (1, 2)),
        (str | Iterable[int], np.arange(2), [0, 1]),
        (str | Iterable[str], {"a": 1}.keys(), ["a"]),
        (Sequence[str], np.array(["a"]), ["a"]),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (str | os.PathLike[str], Path("a"), Path("a")),
    ],
)
def test_numbers_and_arrays_become_what_is_declared(annotation, value, expected):
    given = received(annotation, value)
    assert given == expected
    assert type(given) is type(expected)
    if isinstance(given, list | tuple):
        assert [type(item) for item in given] == [type(item) for item in expected]


def test_a_stream_is_not_read_before_the_function_reads_it():
    texts = (text for text in ["a", 5])
    assert received(str | Stream[str], texts) is texts
    assert next(texts) == "a"


def test_unknown_missing_and_surplus_arguments():
    @checked
    def measure(capture: str, *, layers: str | None = None) -> None: ...

    with pytest.raises(UsageError, match=r"unknown argument of .*measure 'layer': did you mean 'layers'"):
        measure("a", layer="0")
    with pytest.raises(UsageError, match="measure: missing a required argument: 'capture'"):
        measure()
    with pytest.raises(UsageError, match="measure: too many positional arguments"):
        measure("a", "b")


def test_every_public_function_is_checked():
    doors = [getattr(ls, name) for name in ls.__all__ if callable(getattr(ls, name))]
    for module in (ls.figures, ls.variants):
        doors += [getattr(module, name) for name in module.__all__]
    for door in doors:
        with pytest.raises(UsageError, match=r"nonsense|missing"):
            door(nonsense=1)
    for name in ("analyze", "best_match", "compare", "segment", "similarity", "statistics"):
        with pytest.raises(UsageError, match=r"nonsense|missing"):
            getattr(xr.Dataset().layerscope, name)(nonsense=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ls.load_model(None), "load_model: source is None; expected a hub id, a folder, "),
        (lambda: ls.load_model("x", dtype=5), "load_model: dtype 5 is an int; expected a string"),
        (lambda: ls.capture(None, ["a"], "x.h5"), "capture: model is None; expected a Model, a hub id, a folder, "),
        (
            lambda: ls.capture("m", None, "x.h5"),
            "texts are of type NoneType: give a list of strings, of mappings with a field text, or of lists of token ids",
        ),
        (lambda: ls.capture("m", ["a"], 5), "capture: output 5 is an int; expected a string, a path, or None"),
        (
            lambda: ls.capture("m", ["a"], "x.h5", layers=[0, 1]),
            'capture: layers [0, 1] is a list; expected a string such as "0',
        ),
        (
            lambda: ls.capture("m", ["a"], sinks=None),
            "capture: sinks is None; expected a list of objects with update()",
        ),
        (
            lambda: ls.capture("m", ["a"], sinks=[print]),
            "capture: sinks[0] is a builtin_function_or_method; expected an object",
        ),
        (lambda: ls.analyze(5), "analyze: capture 5 is an int; expected a string, a path, or a Dataset"),
        (lambda: ls.analyze("a.h5", measures=[5]), "analyze: measures[0] 5 is an int; expected a string"),
        (lambda: ls.sweep("m", bootstrap=10**30), "bootstrap 1e+30: must be at most 1,000,000"),
        (
            lambda: ls.over_training("a.h5"),
            "over_training: captures 'a.h5' is a str; expected a list of strings, paths, or Datasets",
        ),
        (
            lambda: wrap_module(torch.nn.Identity(), [], name="x"),
            "wrap_module: tokenizer [] is a list; expected an object with get_vocab() and convert_ids_to_tokens(), or None",
        ),
        (lambda: ls.segment(np.array([["a"]])), "segment: similarity is a ndarray; expected an array of numbers"),
        (lambda: ls.variants.skip("8", 2), "skip: depth '8' is a str; expected a whole number up to 100,000"),
        (lambda: ls.variants.identity(10**30), "identity: depth 1000000"),
        (lambda: ls.figures.heatmap(None), "heatmap: similarity is None; expected an array of numbers"),
        (lambda: ls.figures.sweep({}), "sweep: dataset {} is a dict; expected a Dataset"),
        (lambda: ls.figures.save(5, "a.png"), "save: figure 5 is an int; expected a Figure"),
        (lambda: ls.cite(None), "cite: path is None; expected a string or a path"),
        (lambda: ls.generate("m", 5), "generate: prompt 5 is an int; expected a string"),
        (lambda: ls.evaluate("m", ["builtin:cloze"]), "evaluate: task ['builtin:cloze'] is a list; expected a string"),
        (
            lambda: ls.sweep("m", chance={"builtin:cloze": "x"}),
            "sweep: chance['builtin:cloze'] 'x' is a str; expected a number",
        ),
        (lambda: ls.scaling(["a.nc", 5]), "scaling: analyses[1] 5 is an int; expected a string, a path, or a Dataset"),
        (lambda: ls.scheduled("m", "skip:1"), "scheduled: model 'm' is a str; expected a Model"),
    ],
)
def test_misuse_names_the_argument_what_it_is_and_what_is_expected(call, words):
    with pytest.raises(UsageError) as refusal:
        call()
    assert str(refusal.value).startswith(words)
