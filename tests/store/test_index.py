import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.errors import CaptureError
from layerscope.store import index as index_module
from layerscope.store.index import SequenceIndex

sequences = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.lists(st.integers(0, 2**31 - 1))
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(texts=sequences, keep=st.sampled_from(["all", "last", "even"]), block=st.integers(1, 9))
def test_everything_added_can_be_read_again(texts: list[tuple[str, list[int]]], keep: str, block: int) -> None:
    chosen = [
        {"all": list(range(len(ids))), "last": [len(ids) - 1] if ids else [], "even": list(range(0, len(ids), 2))}[keep]
        for _, ids in texts
    ]
    with pytest.MonkeyPatch.context() as patch, SequenceIndex() as index:
        patch.setattr(index_module, "_BLOCK_SEQUENCES", block)
        patch.setattr(index_module, "_BLOCK_TOKENS", block)
        for (name, ids), positions in zip(texts, chosen, strict=True):
            index.add(name, ids, None if keep == "all" else positions)
        first_row = 0
        for number, ((name, ids), positions) in enumerate(zip(texts, chosen, strict=True)):
            assert index.sequence_id(number) == name
            assert index.token_ids(number).tolist() == ids
            start, got = index.rows_of(number)
            assert (start, got.tolist()) == (first_row, positions)
            first_row += len(positions)
        assert (index.sequences, index.tokens, index.rows) == (len(texts), sum(len(ids) for _, ids in texts), first_row)
        assert index.lengths(0, len(texts)).tolist() == [len(ids) for _, ids in texts]
        blocks = list(index.blocks())
        assert [name for b in blocks for name in b.sequence_id] == [name for name, _ in texts]
        assert [length for b in blocks for length in b.sequence_length.tolist()] == [len(ids) for _, ids in texts]
        rows = [(b.sequence_index.tolist(), b.position.tolist(), b.token_id.tolist()) for b in blocks]
        got_rows = [row for three in rows for row in zip(*three, strict=True)]
        assert got_rows == [
            (n, p, ids[p]) for n, ((_, ids), ps) in enumerate(zip(texts, chosen, strict=True)) for p in ps
        ]
        assert [b.first_row for b in blocks] == np.cumsum([0, *(len(b.position) for b in blocks)])[
            : len(blocks)
        ].tolist()


def test_blocks_are_bounded_by_tokens_not_only_by_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_BLOCK_TOKENS", 100)
    with SequenceIndex() as index:
        for number in range(50):
            index.add(str(number), list(range(30)))
        assert max(len(block.position) for block in index.blocks()) < 100 + 30


def peak_of_adding(sequences: int) -> int:
    ids = np.arange(1000, dtype=np.int32)
    with SequenceIndex() as index:
        tracemalloc.start()
        for number in range(sequences):
            index.add(f"text {number}", ids)
        index.token_ids(sequences - 1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_texts() -> None:
    few, many = peak_of_adding(350), peak_of_adding(1400)  # beyond the buffers already; 4 MB more of token ids
    assert many < few + 20_000


def test_nothing_is_left_in_the_folder_and_nothing_is_seen_in_it(tmp_path: Path) -> None:
    with SequenceIndex(tmp_path) as index:
        index.add("a", [1, 2, 3])
        assert index.token_ids(0).tolist() == [1, 2, 3]
        assert not list(tmp_path.iterdir())


def test_more_can_be_added_after_reading() -> None:
    with SequenceIndex() as index:
        index.add("a", [1])
        assert index.sequence_id(0) == "a"
        index.add("b", [2, 3])
        assert (index.sequence_id(1), index.token_ids(1).tolist()) == ("b", [2, 3])


@pytest.mark.parametrize("positions", [[3], [-2], [-1, 0], [1, 1], [2, 0]])
def test_positions_must_ascend_within_the_sequence(positions: list[int]) -> None:
    with SequenceIndex() as index, pytest.raises(ValueError, match=r"must ascend within 0 … 2"):
        index.add("a", [5, 6, 7], positions)


def test_ids_that_hdf5_cannot_hold_are_refused_with_their_place() -> None:
    with SequenceIndex() as index:
        index.add("fine", [1])
        with pytest.raises(CaptureError, match=re.escape(r"the id of sequence 1 has a NUL character: 'a\x00b'")):
            index.add("a\0b", [1])
        with pytest.raises(CaptureError, match=re.escape(r"the id of sequence 1 is no text: '\ud800'")):
            index.add("\ud800", [1])
        assert index.sequences == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=rf"cannot keep the tokens of the texts in {tmp_path}/none: No such file"):
        SequenceIndex(tmp_path / "none")


def test_sequences_that_are_not_there() -> None:
    with SequenceIndex() as index, pytest.raises(IndexError, match="sequences 0 to 1 of 0"):
        index.token_ids(0)
