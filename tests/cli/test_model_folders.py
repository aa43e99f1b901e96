"""The command line on model folders that are hostile: exit code 1, one or two lines, no traceback."""

import json
import os

import pytest

from tests.cli.test_commands import run


class PanicException(BaseException):
    """As pyo3 names it; it cannot be imported."""


COMMANDS = {
    "capture": ("--output", "run.h5"),
    "evaluate": ("--task", "builtin:cloze"),
    "sweep": ("--task", "builtin:cloze", "--variants", "skip", "--output", "s.nc"),
    "generate": ("w1 w2",),
    "info": (),
}


def pipe(folder):
    os.mkfifo(folder / "extra.json")


def billion(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))


@pytest.mark.parametrize("harm", [pipe, billion])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_hostile_folder_in_two_lines(tiny_folder, tmp_path, command, harm):
    harm(tiny_folder)
    lines = run(command, tiny_folder, *COMMANDS[command], cwd=tmp_path, code=1).stderr.splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith("layerscope: ")
    assert os.listdir(tmp_path) == [tiny_folder.name]


def test_a_panic_anywhere_is_two_lines(tiny_folder, tmp_path, monkeypatch):
    def panic(*_, **__):
        raise PanicException("index out of bounds")

    monkeypatch.setattr("layerscope.capturing.capture.prepare", panic)
    done = run("capture", tiny_folder, "--output", "run.h5", cwd=tmp_path, code=1)
    assert done.stderr == (
        "layerscope: a library failed: index out of bounds\nRun again with --debug, and report it.\n"
    )
