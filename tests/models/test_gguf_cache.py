"""Conversions of GGUF files are made once, whole or not at all, whoever else is at it and whatever a killed one has left."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from layerscope.lock_files import folder_lock
from layerscope.models import gguf
from layerscope.models.gguf import conversion
from tests.models import gguf_files


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """The folder of conversions in a cache of its own."""
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def path(tmp_path) -> Path:
    return gguf_files.write(tmp_path / "m.gguf", gguf_files.model("llama"))


def _half(models: Path, name: str) -> Path:
    half = models / name
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    return half


def test_what_a_killed_conversion_leaves_is_removed_by_the_next(models, path):
    name = gguf.convert(path).name
    shutil.rmtree(models / name)
    (models / f"{name}.lock").touch()  # whose lock ended with the process
    _half(models, f"{name}.x1.tmp")
    folder = gguf.convert(path)
    assert list(models.iterdir()) == [folder]


def test_halves_of_others_are_removed_but_not_those_of_a_living_process(models, path):
    gone = [_half(models, "0123456789abcdef01234567.x1.tmp"), _half(models, "2-0123.x2.tmp")]
    living = _half(models, "2-4567.x3.tmp")
    with folder_lock(models / "2-4567"):
        folder = gguf.convert(path)
        assert living.is_dir()
    assert not any(half.exists() for half in gone)
    assert sorted(models.iterdir()) == sorted([folder, living])


def test_two_conversions_of_one_file_at_once_are_one(models, path, monkeypatch):
    written, write = [], conversion._write
    monkeypatch.setattr(conversion, "_write", lambda *args: (written.append(args), write(*args)))
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(gguf.convert, [path, path]))
    assert folders[0] == folders[1]
    assert len(written) == 1
    assert list(models.iterdir()) == [folders[0]]


def test_a_conversion_that_has_lost_its_configuration_is_made_again(models, path):
    folder = gguf.convert(path)
    (folder / "config.json").unlink()
    assert (gguf.convert(path) / "config.json").is_file()


def test_a_conversion_whose_weights_were_edited_is_made_again(models, path):
    weights = gguf.convert(path) / "model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:-4] + b"\0\0\x80?")  # of the same size
    assert (gguf.convert(path) / "model.safetensors").read_bytes() == right


@pytest.mark.parametrize("edit", ["change", "add", "manifest", "no manifest"])
def test_a_conversion_with_other_files_is_made_again(models, path, edit):
    folder = gguf.convert(path)
    right = (folder / "config.json").read_bytes()
    if edit == "change":
        (folder / "config.json").write_bytes(right.replace(b'"rms_norm_eps": 1e-0', b'"rms_norm_eps": 2e-0'))
    elif edit == "add":
        (folder / "pytorch_model.bin").write_bytes(b"other weights")
    elif edit == "manifest":
        (folder / "manifest.json").write_text("[]")
    else:
        (folder / "manifest.json").unlink()
    folder = gguf.convert(path)
    assert (folder / "config.json").read_bytes() == right
    assert not (folder / "pytorch_model.bin").exists()


def test_a_copy_of_a_conversion_is_kept(models, path, monkeypatch):
    folder = gguf.convert(path)
    os.utime(folder / "model.safetensors", (1, 1))
    monkeypatch.setattr(conversion, "_write", lambda *_: pytest.fail("converted again"))
    assert gguf.convert(path) == folder


def test_without_locks_a_conversion_is_made_all_the_same(models, path, monkeypatch):
    def no_locks(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    other = _half(models, "2-0123.x2.tmp")
    folder = gguf.convert(path)
    assert other.is_dir()  # nobody can tell whether its process lives
    assert (folder / "config.json").is_file()


def test_a_conversion_is_kept_under_its_version_and_the_content(models, path):
    digest = gguf.file_hash(path).removeprefix("sha256:")
    assert gguf.convert(path).name == f"{conversion._CONVERSION}-{digest[:24]}"
