"""What commands print on terminals that cannot show it, into pipes that are closed, and of names with odd characters."""

import os
import subprocess

import pytest

from layerscope.cli.terminal import complain
from tests.cli.test_commands import PROGRAM, run


def printed(arguments, encoding):
    """Run a command in a process of its own, with an encoding for its output."""
    return subprocess.run(
        [*PROGRAM, *arguments], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )


def test_a_terminal_that_lacks_a_character_gets_its_escape():
    done = printed(["list", "measures"], "latin-1")
    assert done.returncode == 0, done.stderr
    assert rb"[0, \u221e)" in done.stdout
    assert done.stdout.decode("latin-1").encode("latin-1") == done.stdout


def test_a_reader_that_leaves_early_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, "list", "measures"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_full_disk_behind_standard_output_is_said_in_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "list", "variants"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.stderr.decode().splitlines() == ["layerscope: No space left on device: make room where the output goes"]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("one", ["one"]),
        ("one\ntwo", ["one", "two"]),
        ("a\nb.nc is no file\nmake it again", ["a b.nc is no file", "make it again"]),
        ("red \x1b[31m and\ttab", [r"red \x1b[31m and\ttab"]),
        ("lone \udcff", [r"lone \udcff"]),
    ],
)
def test_an_error_has_two_lines_at_most_and_no_control_characters(message, lines, capsys):
    complain(message)
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["capture", "a\nb\nc.gguf"], 1, "c.gguf: there is no such file"),
        (["analyze", "x" * 5000], 1, "File name too long"),
        (["training", "", ""], 1, ""),
        (["plot", ""], 1, ""),
        (["demo", "--model", ""], 2, "the model has no name"),
    ],
)
def test_odd_names_are_refused_in_two_lines(arguments, code, words, tmp_path):
    done = run(*arguments, cwd=tmp_path, code=code)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "fault of layerscope" not in done.stderr
