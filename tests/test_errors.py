"""What is said of a file that is not there."""

import pytest

from layerscope.errors import FileError, missing_file


@pytest.mark.parametrize(
    ("asked", "there", "said"),
    [
        ("run.h5", ["runs.h5", "other.h5"], "did you mean {folder}/runs.h5?"),
        ("run.h5", ["zz.h5", "run.nc"], "; {folder} has zz.h5"),
        ("run.h5", [f"x{n}.h5" for n in range(7)], "has x0.h5, x1.h5, x2.h5, x3.h5, x4.h5, …"),
        ("run.h5", ["run.nc"], "and no other .h5 in {folder}"),
        ("run", ["run.nc"], "and no other file in {folder}"),
        ("deep/run.h5", ["run.h5"], "nor a folder {folder}/deep"),
    ],
)
def test_what_is_there_is_said_of_what_is_not(asked, there, said, tmp_path):
    for name in there:
        (tmp_path / name).touch()
    message = missing_file(tmp_path / asked)
    assert message.startswith(f"{tmp_path / asked}: there is no such file")
    assert said.format(folder=tmp_path) in message


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x1b[31mb", "a\u2028b\vc\x85d", "a\n\n\nb"])
def test_a_name_with_line_breaks_or_control_characters_leaves_two_lines(name):
    for error in (
        FileError(f"{name}.nc: there is no such file"),
        FileError(f"{name}.nc is damaged\nmake {name}.nc again"),
    ):
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= 2
        assert all(line.isprintable() for line in lines)
