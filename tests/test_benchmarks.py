"""The benchmark for machines with a GPU runs from end to end, at tiny sizes on the CPU."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    output = tmp_path_factory.mktemp("gpu") / "gpu.md"
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--rounds", "1", "--output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    lines = [line for line in output.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_comparison_of_every_shape_has_its_rows(table) -> None:
    names = {group: [row[1] for row in table[2:] if row[0] == group] for group in {row[0] for row in table[2:]}}
    ways = {"host memory": 4, "to disk": 4, "statistics only": 1, "bare decoder forward": 1}
    for shape in ("tiny Pythia", "tiny Llama"):
        captured = names[f"{shape}: capture"]
        assert {way: sum(way in name for name in captured) for way in ways} == ways
        assert [sum(name in row for row in names[f"{shape}: analysis"]) for name in ("`cosine`", "`cka`")] == [2, 2]
    timed = names["tiny Llama: time a token"]
    assert len(timed) == 16
    assert sum("`parallel:8`," in name for name in timed) == sum("`parallel:8, stacked`" in name for name in timed) == 4
    assert len(names["tiny Llama: sweep of 13 schedules"]) == 3


def test_no_ratio_is_missing(table) -> None:
    assert table[0][2:5] == ["ratio", "smallest", "largest"]
    for row in table[2:]:
        assert all(math.isfinite(float(cell)) and float(cell) > 0 for cell in row[2:5]), row
