"""An exception of the user's own texts or sink comes out unchanged, and the capture can go on."""

import errno

import numpy as np
import pytest

from layerscope.capturing.capture import capture
from layerscope.errors import TextsError
from layerscope.store.opening import open_capture
from tests.families import tiny_model
from tests.tokenizers import word_tokenizer

TEXTS = [f"w{n} w{n + 1} w{n + 2}" for n in range(9)]


class Stop(BaseException):
    """An exception of the user that is no `Exception`."""


EXCEPTIONS = [
    KeyError("mine"),
    RuntimeError("mine"),
    OSError(errno.ENOSPC, "mine"),
    BlockingIOError("mine"),
    TextsError("mine"),
    KeyboardInterrupt(),
    Stop(),
]


class Sink:
    """Raises at its second rows."""

    def __init__(self, exception):
        self.exception, self.calls = exception, 0

    def update(self, rows):
        self.calls += 1
        if self.calls == 2:
            raise self.exception


@pytest.fixture(scope="module")
def model():
    from dataclasses import replace

    return replace(tiny_model("llama"), tokenizer=word_tokenizer())


def after(model, path):
    """Finish a capture, and return its states."""
    capture(model, TEXTS, path, batch_tokens=6, resume=True)
    with open_capture(path) as dataset:
        return dataset["hidden"].values


@pytest.fixture(scope="module")
def states(model, tmp_path_factory):
    return after(model, tmp_path_factory.mktemp("whole") / "run.h5")


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda exception: type(exception).__name__)
def test_an_exception_of_the_texts_comes_out_unchanged(model, exception, tmp_path, states):
    def texts():
        yield from TEXTS[:4]
        raise exception

    with pytest.raises(type(exception)) as raised:
        capture(model, texts(), tmp_path / "run.h5", batch_tokens=6)
    assert raised.value is exception
    np.testing.assert_array_equal(after(model, tmp_path / "run.h5"), states)


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda exception: type(exception).__name__)
@pytest.mark.parametrize("stored", [True, False], ids=["beside a file", "alone"])
def test_an_exception_of_a_sink_comes_out_unchanged(model, exception, stored, tmp_path, states):
    path, sink = tmp_path / "run.h5", Sink(exception)
    with pytest.raises(type(exception)) as raised:
        capture(model, TEXTS, path if stored else None, sinks=[sink], batch_tokens=6)
    assert raised.value is exception
    assert sink.calls == 2
    np.testing.assert_array_equal(after(model, path), states)


@pytest.mark.parametrize("backend", ["nnsight", "transformer-lens"])
def test_backends_wrap_no_exception_of_a_sink(model, backend):
    exception = KeyError("mine")
    with pytest.raises(KeyError) as raised:
        capture(model, TEXTS, sinks=[Sink(exception)], batch_tokens=6, backend=backend)
    assert raised.value is exception


def test_texts_that_are_no_strings_are_named_by_number_and_type(model, tmp_path):
    for texts in (iter(["w1", "w2", 5]), iter(["w1", "w2", b"w3"])):
        with pytest.raises(TextsError, match=r"texts\[2\] is of type (int|bytes): give a list"):
            capture(model, texts, tmp_path / "run.h5")
