"""Damaged captures: refused in two lines by whoever opens them, and never finished as if nothing had happened."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerscope.errors import FileError
from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.opening import open_capture, open_source
from layerscope.store.target import CaptureTarget
from layerscope.store.writer import CaptureWriter
from tests.store.captures import fill, layout, rows_of, states, write_capture

OF = layout(layers=2, dtype=torch.float32)
ROWS = 100
Change = Callable[[h5py.File], None]


def capture(folder: Path, finish: bool = True) -> Path:
    batches = [np.arange(60), np.arange(60, ROWS)] if finish else [np.arange(60)]
    return write_capture(folder / "run.h5", states(ROWS, OF), OF, lengths=[60, 40], batches=batches, finish=finish)


def refusal(opener: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(FileError) as caught:
        opener(path)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def resume(path: Path) -> None:
    with CaptureTarget(path) as target, SequenceIndex(target.folder) as index:
        fill(index, [60, 40])
        with CaptureWriter.resume(target, index) as writer:
            writer.update(rows_of(index, states(ROWS, OF), np.arange(writer.committed_rows, ROWS)))
            writer.finish()


def replaced(name: str, **options: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def attribute(name: str, value: object, of: str | None = None) -> Change:
    def change(file: h5py.File) -> None:
        (file if of is None else file[of]).attrs[name] = value

    return change


def virtual(file: h5py.File) -> None:
    dataset = file["layer"]
    where = h5py.VirtualLayout(dataset.shape, dataset.dtype)
    where[...] = h5py.VirtualSource("elsewhere.h5", "layer", dataset.shape)
    del file["layer"]
    file.create_virtual_dataset("layer", where)


def linked(link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file["layer"]
        file["layer"] = link

    return change


STRUCTURE: dict[str, tuple[Change, str]] = {
    "virtual dataset": (virtual, "layer is stored in other files"),
    "soft link": (linked(h5py.SoftLink("/position")), "layer is a link to data elsewhere"),
    "external link": (linked(h5py.ExternalLink("elsewhere.h5", "/layer")), "layer is a link to data elsewhere"),
    "external storage": (
        replaced("layer", shape=(2,), dtype="i8", external=[("raw.bin", 0, 16)]),
        "layer is stored in other files",
    ),
    "7 TiB of nothing": (
        replaced("position", shape=(2**40,), dtype="i8", chunks=(64,)),
        f"position has the shape ({2**40},) and only 0 bytes",
    ),
    "compressed, and more than deflate can": (
        replaced("token_id", shape=(2**40,), dtype="i4", chunks=(64,), compression="gzip"),
        f"token_id has the shape ({2**40},) and only 0 bytes",
    ),
    "text for numbers": (
        replaced("token_id", data=["a"] * ROWS, dtype=h5py.string_dtype()),
        "token_id has the type object, expected integers",
    ),
    "numbers for text": (replaced("layer_name", data=[1, 2]), "layer_name has the type int64, expected text"),
    "another shape": (
        replaced("position", data=np.zeros((ROWS, 1), "i4")),
        "position has the shape (100, 1), expected (token)",
    ),
    "another size": (replaced("position", data=np.zeros(7, "i4")), "position has 7 of token, hidden has 100"),
    "a group": (lambda file: (file.pop("layer"), file.create_group("layer")), "layer is no variable"),
    "lists of numbers": (
        lambda file: file.create_dataset("more", data=[np.ones(2), np.ones(3)], dtype=h5py.vlen_dtype("f4")),
        "more holds neither numbers nor text",
    ),
    "settings that are a number": (
        attribute("settings", 3, of="token"),
        "token: attribute settings is not of type str",
    ),
    "model that is a number": (attribute("model", 3), "the file's attribute model is not of type str"),
}


@pytest.mark.parametrize("what", STRUCTURE)
def test_another_structure_is_refused_by_whoever_opens_the_file(tmp_path: Path, what: str) -> None:
    change, said = STRUCTURE[what]
    path = capture(tmp_path)
    shutil.copy(path, tmp_path / "elsewhere.h5")
    np.array([0, 1]).tofile(tmp_path / "raw.bin")
    with h5py.File(path, "r+") as file:
        change(file)
    for opener in (read_header, open_capture, open_source):
        assert said in refusal(opener, path)


HEADER: dict[str, Change] = {
    "model": attribute("model", "another"),
    "number of blocks": attribute("num_blocks", 4),
    "settings": attribute("settings", '{"seed": 1}', of="token"),
    "settings, nested without end": attribute("settings", "[" * 20_000, of="token"),
    "checksum": attribute("checksum", "0" * 32, of="token"),
    "checksum of the index": attribute("index_checksum", "0" * 32, of="token"),
    "committed rows": lambda file: file["token"].attrs.modify("committed", np.array([61, 1830, 5])),
    "an attribute less": lambda file: file.attrs.__delitem__("backend"),
}


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("what", HEADER)
def test_a_header_that_was_changed_is_refused(tmp_path: Path, what: str, finish: bool) -> None:
    path = capture(tmp_path, finish)
    with h5py.File(path, "r+") as file:
        HEADER[what](file)
    assert "not match its checksum" in refusal(read_header, path)


def test_an_unfinished_capture_that_says_it_is_complete_is_refused(tmp_path: Path) -> None:
    path = capture(tmp_path, finish=False)
    with h5py.File(path, "r+") as file:
        file.attrs.modify("complete", np.int64(1))
    assert "its count of committed rows does not match its checksum" in refusal(open_source, path)


@pytest.mark.parametrize("name", ["layer", "layer_name", "sequence_index", "position", "token_id", "sequence_id"])
def test_an_index_that_was_changed_is_refused_finished_or_not(tmp_path: Path, name: str) -> None:
    for finish in (True, False):
        path = capture(tmp_path, finish)
        with h5py.File(path, "r+") as file:
            first = file[name][1:2]
            file[name][0:1] = first if name != "token_id" else first + 5
            file[name][-1:] = first
        for opener in (open_capture, open_source) if finish else (resume,):
            assert "its tokens or texts do not match their checksum" in refusal(opener, path)


def test_a_resumed_capture_writes_only_where_it_laid_out_its_rows(tmp_path: Path) -> None:
    path = capture(tmp_path, finish=False)
    shutil.copy(path, tmp_path / "moved.h5")
    with h5py.File(tmp_path / "moved.h5", "r+") as file:
        moved = file.create_dataset("moved", data=file["hidden"][...], chunks=file["hidden"].chunks)
        moved.attrs["coordinates"] = file["hidden"].attrs["coordinates"]
        file.flush()  # now it has its place, beside the other
        del file["hidden"]
        file.move("moved", "hidden")
    assert "its states are not where they were laid out" in refusal(resume, tmp_path / "moved.h5")
    resume(path)
    assert read_header(path).complete


def test_states_without_their_labels_are_not_finished(tmp_path: Path) -> None:
    path = capture(tmp_path, finish=False)
    with h5py.File(path, "r+") as file:
        file["hidden"].attrs["coordinates"] = "layer_name"
    assert "its states are not where they were laid out" in refusal(resume, path)


def test_what_xarray_cannot_open_is_not_finished(tmp_path: Path) -> None:
    path = capture(tmp_path, finish=False)
    with h5py.File(path, "r+") as file:
        del file["feature"]
    assert "is damaged" in refusal(resume, path)


def test_captures_of_versions_without_checksums_open_but_do_not_go_on(tmp_path: Path) -> None:
    for finish in (True, False):
        path = capture(tmp_path, finish)
        with h5py.File(path, "r+") as file:
            for name in ("checksum", "index_checksum", "placement_checksum"):
                del file["token"].attrs[name]
            committed = file["token"].attrs["committed"][:2]
            del file["token"].attrs["committed"]
            file["token"].attrs["committed"] = committed
        assert read_header(path).committed_rows == (ROWS if finish else 60)
        if finish:
            with open_source(path) as source:
                assert torch.equal(source.read(0, ROWS), states(ROWS, OF))
        else:
            assert refusal(resume, path).endswith("wrote no checksums\nstart again with --overwrite")


def test_a_chunk_at_another_address_is_refused(tmp_path: Path) -> None:
    """The address in HDF5's own index, changed to that of the other chunk or past the end."""
    path = capture(tmp_path)
    with h5py.File(path) as file:
        found: list[int] = []
        file["hidden"].id.chunk_iter(lambda chunk: found.append(chunk.byte_offset))
    whole = path.read_bytes()
    for wrong in (found[0], found[0] + 40, len(whole) - 16):
        path.write_bytes(whole.replace(found[1].to_bytes(8, "little"), wrong.to_bytes(8, "little")))
        assert "is damaged" in refusal(open_source, path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "run.h5"
    make(path)
    for opener in (read_header, open_capture, open_source):
        assert refusal(opener, path).startswith(f"{path} is a ")


def test_rows_whose_compressed_bytes_are_damaged_are_named(tmp_path: Path) -> None:
    path = capture(tmp_path)
    with h5py.File(path, "r+") as file:
        rows = file["hidden"][...]
        del file["hidden"]
        hidden = file.create_dataset("hidden", data=rows, chunks=(100, 1, 5), compression="gzip")
        hidden.attrs["coordinates"] = "layer_name sequence_index position token_id"
        where = hidden.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[where + 40 : where + 60] = bytes(20)
    path.write_bytes(content)
    with open_source(path) as source:
        assert "rows 10 to 20 cannot be read" in refusal(lambda _: source.read(10, 20), path)


def test_a_heap_of_text_that_hdf5_would_walk_without_end_is_refused(tmp_path: Path) -> None:
    path = capture(tmp_path)
    content = bytearray(path.read_bytes())
    at, found = content.find(b"GCOL"), 0
    while at >= 0:
        size = int.from_bytes(content[at + 8 : at + 16], "little")
        free = at + 16
        while int.from_bytes(content[free : free + 2], "little"):  # the free space at the end has the number 0
            free += 16 + -(-int.from_bytes(content[free + 8 : free + 16], "little") // 8) * 8
        path.write_bytes(content[: free + 8] + bytes(8) + content[free + 16 :])
        assert f"the text at byte {at} cannot be read" in refusal(read_header, path)
        at, found = content.find(b"GCOL", at + size), found + 1
    assert found
