import re
from pathlib import Path

import numpy as np
import pytest
import torch

from layerscope.errors import CaptureError
from layerscope.store.space import check_space
from tests.store.captures import layout, states, write_capture


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("tokens", "width", "sequences"), [(1, 4, 1), (3000, 64, 1000), (5000, 256, 2), (257, 20_000, 3)]
)
def test_the_forecast_is_never_too_low_and_near(
    tmp_path: Path, dtype: torch.dtype, tokens: int, width: int, sequences: int
) -> None:
    of = layout(layers=4, width=width, dtype=dtype, final_norm=True)
    lengths = [len(part) for part in np.array_split(np.arange(tokens), sequences)]
    path = write_capture(tmp_path / "run.h5", states(tokens, of), of, lengths=lengths, final=torch.zeros(tokens, width))
    real, forecast = path.stat().st_size, of.forecast_bytes(tokens, sequences)
    assert real <= forecast
    assert forecast - real < 0.02 * real + 100_000


class Disk:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_disk_too_small_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk(3_100_000_000))
    expected = (
        f"the capture needs 7.2 GB, and {tmp_path} has 3.1 GB free\n"
        "store less with --store-dtype bfloat16, --layers or --tokens, or write to another disk with --output"
    )
    with pytest.raises(CaptureError, match=re.escape(expected)):
        check_space(tmp_path / "run.h5", 7_200_000_000)
    check_space(tmp_path / "run.h5", 3_100_000_000)


def test_what_the_file_already_holds_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk(1_000_000))
    path = tmp_path / "run.h5"
    path.write_bytes(bytes(1_000_000))
    check_space(path, 1_900_000)
    with pytest.raises(CaptureError, match=r"has 2\.0 MB free"):
        check_space(path, 2_100_000)


def test_the_real_disk_holds_something(tmp_path: Path) -> None:
    check_space(tmp_path / "run.h5", 1)
    with pytest.raises(CaptureError):
        check_space(tmp_path / "run.h5", 10**18)
