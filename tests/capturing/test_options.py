"""One record of options: the function, the command line and the resume check all agree with it."""

from dataclasses import fields
from inspect import Parameter, signature

import pytest

import layerscope as ls
from layerscope.capturing.options import CaptureOptions
from layerscope.cli.capture import capture as command
from layerscope.errors import UsageError

PLACES = {
    "model",
    "texts",
    "output",
    "resume",
    "overwrite",
    "dry_run",
    "as_json",
}  # what is read and written: no option of the capture itself
DEFAULTS = {field.name: field.default for field in fields(CaptureOptions)}
LOADING = ("dtype", "device", "device_map", "stack")  # None in the record: a loaded model has its own


def defaults(parameters: dict[str, Parameter]) -> dict[str, object]:
    return {name: parameter.default for name, parameter in parameters.items() if name not in PLACES}


def test_the_function_takes_exactly_these_options() -> None:
    assert defaults(dict(signature(ls.capture).parameters)) == DEFAULTS | {"sinks": ()}


def test_the_command_takes_exactly_these_options() -> None:
    assert defaults(dict(signature(command).parameters)) == DEFAULTS | {"dtype": "float32", "batch_tokens": "2048"}


def test_settings_of_a_resumed_capture_are_all_options_but_the_device() -> None:
    given = CaptureOptions(tokens="sample:2", seed=4, schedule=((0,), (1, 2)), layers="0-1", dtype="bfloat16")
    settings = given.settings("m", "w", "bfloat16", "t")
    assert list(settings) == [  # the order in which differences are named, and in which files store them
        *("model", "weights", "compute_dtype", "backend", "schedule", "texts", "text_field", "limit", "max_length"),
        *("layers", "tokens", "seed", "final_norm", "spans", "store_dtype", "batch_tokens"),
    ]
    # An option that older versions lack is a setting only if it has another value than its default.
    later = {"streams", "split", "metadata", "token_strings", "chat", "generate", "temperature"} | {
        "attn",
        "compile",
        "images",
    }
    assert settings.keys() - {"model", "weights", "compute_dtype", "texts"} == DEFAULTS.keys() - set(LOADING) - later
    assert CaptureOptions(streams="attn").settings("m", "w", "bfloat16", "t")["streams"] == "attn"
    assert [settings[name] for name in ("schedule", "tokens", "store_dtype")] == ["0 (1|2)", "sample:2", "bfloat16"]


@pytest.mark.parametrize("wrong", [{"tokens": "some"}, {"schedule": "skip:"}, {"max_length": 0}, {"batch_tokens": 0}])
def test_wrong_options_are_refused_before_a_model_is_loaded(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ls.capture("no/such/model.gguf", ["one text"], "run.h5", **wrong)  # type: ignore[arg-type]
