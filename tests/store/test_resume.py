import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from layerscope.errors import CaptureError
from layerscope.store import index as index_module
from layerscope.store.index import SequenceIndex
from layerscope.store.resume import first_difference, refuse_other_settings
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from tests.store.captures import layout, states, write_capture

TEXTS = [("a", [1, 2, 3]), ("b", [4, 5]), ("ç", [6, 7, 8, 9]), ("d", [10])]


def test_the_first_difference_is_told_in_the_order_asked_for() -> None:
    stored = {"backend": "hooks", "seed": 0, "layers": None}
    assert first_difference(stored, {"seed": 0, "layers": None, "backend": "hooks"}) is None
    wanted = {"seed": 1, "backend": "nnsight", "layers": None}
    assert first_difference(stored, wanted) == "stored with seed 0, got 1"
    assert first_difference(stored, {**stored, "layers": "0,5-10"}) == "stored with layers None, got '0,5-10'"
    assert first_difference(stored, {**stored, "tokens": "last"}) == "stored without tokens, got 'last'"
    assert first_difference({**stored, "tokens": "all"}, stored) == "stored with tokens 'all', got none"


def resumed(
    path: Path, texts: list[tuple[str, list[int]]], keep: Callable[[list[int]], list[int]] | None = None
) -> None:
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        for name, ids in texts:
            index.add(name, ids, keep(ids) if keep else None)
        CaptureWriter.resume(target, index).close()


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    from tests.store.captures import ATTRIBUTES, SETTINGS

    with CaptureTarget(tmp_path / "run.h5") as target, SequenceIndex(target.folder) as index:
        for name, ids in TEXTS:
            index.add(name, ids)
        CaptureWriter.create(target, layout(), index, ATTRIBUTES, SETTINGS).close()
    return tmp_path / "run.h5"


def changed(number: int, text: tuple[str, list[int]]) -> list[tuple[str, list[int]]]:
    return [*TEXTS[:number], text, *TEXTS[number + 1 :]]


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize(
    ("texts", "difference"),
    [
        (changed(2, ("c", [6, 7, 8, 9])), "sequence 2 has sequence_id 'ç', got 'c'"),
        (changed(2, ("ç", [6, 7, 8])), "sequence 2 has sequence_length 4, got 3"),
        (changed(1, ("b", [4, 6])), "sequence 'b', row 4 has token_id 5, got 6"),
        (TEXTS[:3], "stored with 4 sequences, got 3"),
        ([*TEXTS, ("e", [1])], "stored with 4 sequences, got 5"),
        ([], "stored with 4 sequences, got 0"),
    ],
)
def test_other_texts_are_refused_and_the_first_difference_named(
    unfinished: Path, texts: list[tuple[str, list[int]]], difference: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_BLOCK_SEQUENCES", block)
    with pytest.raises(
        CaptureError, match=re.escape(f"{unfinished} was begun with other texts: {difference}\ngive the same")
    ):
        resumed(unfinished, texts)
    resumed(unfinished, TEXTS)


def test_other_rows_of_the_same_texts_are_refused(unfinished: Path) -> None:
    for keep in (lambda ids: [len(ids) - 1], lambda ids: list(range(len(ids) - 1))):
        with pytest.raises(CaptureError, match="was begun with other texts: "):
            resumed(unfinished, TEXTS, keep)


def test_rows_left_out_at_the_very_end_are_missed(unfinished: Path) -> None:
    with pytest.raises(CaptureError, match="was begun with other texts: stored with 10 rows, got 9\n"):
        resumed(unfinished, TEXTS, lambda ids: ids[:0] if ids == [10] else list(range(len(ids))))


def test_more_rows_of_the_same_texts_are_refused(tmp_path: Path) -> None:
    of = layout()
    path = write_capture(
        tmp_path / "run.h5", torch.zeros(3, 3, 5), of, lengths=[3], batches=[np.arange(1)], finish=False
    )
    with pytest.raises(CaptureError, match=r"sequence 0 has sequence_length 3, got 5"):
        resumed(path, [("text 0 ß", [0, 1, 2, 3, 4])], lambda ids: [0, 1, 2])
    assert states(3, of).shape == (3, 3, 5)


def test_weights_that_are_recorded_as_a_branch_cannot_be_compared():
    stored, commit = {"model": "a/b", "weights": "main", "seed": 0}, "e3a1" * 10
    refuse_other_settings(Path("run.h5"), stored, stored)
    with pytest.raises(CaptureError) as raised:
        refuse_other_settings(Path("run.h5"), stored, stored | {"weights": commit})
    assert str(raised.value) == (
        f"run.h5: its weights are recorded as 'main', which may differ from '{commit}'\n"
        "Start again with --overwrite: then the commit is recorded."
    )
    with pytest.raises(CaptureError, match="stored with weights 'main', got"):
        refuse_other_settings(Path("run.h5"), stored, stored | {"weights": commit, "seed": 1})
    with pytest.raises(CaptureError, match="stored with weights 'sha256:00ff', got 'sha256:ff00'"):
        refuse_other_settings(Path("run.h5"), stored | {"weights": "sha256:00ff"}, stored | {"weights": "sha256:ff00"})
