"""Every measure has its example on the page of measures, small enough to be kept under version control."""

from pathlib import Path

from layerscope.measures.catalogue import MEASURES

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "measures"


def test_every_measure_has_one_and_there_is_no_other():
    assert {path.stem for path in FOLDER.iterdir()} == set(MEASURES)
    for path in FOLDER.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path.name
        assert path.stat().st_size <= 40_000, path.name
