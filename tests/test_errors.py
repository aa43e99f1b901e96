"""What is said of a file that is not there."""

import pytest

from layerscope.errors import missing_file


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
