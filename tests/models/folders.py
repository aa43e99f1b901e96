"""Model folders for tests, and what loading one says."""

import json
import signal
from contextlib import contextmanager

import pytest

import layerscope as ls
from layerscope.errors import ModelError

SECONDS = 20  # for any folder; honest ones of this size take less than one


@contextmanager
def time_limit():
    def stop(*_):
        raise TimeoutError("the folder is still being read")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(source) -> str:
    with time_limit(), pytest.raises(ModelError) as error:
        ls.load_model(source)
    assert str(error.value).count("\n") <= 1
    assert not isinstance(error.value.__cause__, TimeoutError)
    return str(error.value)


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
