"""Hostile model folders: only regular files inside the folder are read, within bounds."""

import os

import pytest
import transformers

import layerscope as ls
from layerscope.errors import ModelError
from layerscope.models.identity import identify
from tests.models.folders import refusal, time_limit

# Files that are no regular files inside the folder

PLACES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "extra.json",
    "model.safetensors",
    "pytorch_model.bin",
    "model.safetensors.index.json",
    "adapter_config.json",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("put", "said"),
    [
        (os.mkfifo, "is a named pipe, not a regular file"),
        (os.mkdir, "is a directory, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "leads outside the model folder, to /dev/zero"),
        (lambda path: path.symlink_to("nothing"), "is a link to a file that does not exist"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_name(tiny_folder, place, put, said):
    (tiny_folder / place).unlink(missing_ok=True)
    put(tiny_folder / place)
    assert said in (message := refusal(tiny_folder))
    assert place in message


def test_files_that_nothing_reads_may_be_anything(tiny_folder):
    os.mkfifo(tiny_folder / "pipe")
    (tiny_folder / "onnx").mkdir()
    model = ls.load_model(tiny_folder)
    assert model.fingerprint().startswith("sha256:")


def test_a_link_inside_the_folder_is_followed_and_one_that_leaves_it_is_not(tiny_folder):
    weights = tiny_folder / "model.safetensors"
    inside, outside = tiny_folder / "real.safetensors", tiny_folder.parent / "other.safetensors"
    weights.rename(inside)
    weights.symlink_to(inside.name)
    assert ls.load_model(tiny_folder).depth == 4
    inside.rename(outside)
    weights.unlink()
    weights.symlink_to(outside)
    assert refusal(tiny_folder) == (
        f"{weights} leads outside the model folder, to {outside}.\nOnly files inside the folder are read: copy it there."
    )


def test_a_linked_folder_is_the_folder(tiny_folder):
    link = tiny_folder.with_name("link")
    link.symlink_to(tiny_folder, target_is_directory=True)
    assert ls.load_model(link).fingerprint() == ls.load_model(tiny_folder).fingerprint()


def test_a_pipe_called_gguf_is_refused(tmp_path):
    os.mkfifo(tmp_path / "model.gguf")
    assert "is not a regular file" in refusal(tmp_path / "model.gguf")


# Sizes


@pytest.mark.parametrize("place", ["config.json", "tokenizer.json", "extra.json", "vocab.txt"])
def test_huge_files_are_refused_unread(tiny_folder, place):
    with (tiny_folder / place).open("ab") as file:
        file.truncate(2**40)
    assert f"{place} has 1,099,511,627,776 bytes, and a file of this kind at most" in refusal(tiny_folder)


@pytest.mark.parametrize("place", ["optimizer.bin", "other.safetensors"])
def test_huge_weights_of_something_else_are_not_hashed(tiny_folder, place):
    with (tiny_folder / place).open("wb") as file:
        file.truncate(2**41)
    model = ls.load_model(tiny_folder)
    with time_limit(), pytest.raises(ModelError, match=f"{place} is far larger than the model itself"):
        model.fingerprint()


def test_the_fingerprint_is_as_it_was(tiny_folder):
    """Captures recorded it, and --resume compares it: sha256 over names and hashes of all .json, .bin and .safetensors."""
    import hashlib

    (tiny_folder / "training_args.bin").write_bytes(b"state of a trainer")
    (tiny_folder / "README.md").write_text("not hashed")
    expected = hashlib.sha256()
    for path in sorted(tiny_folder.iterdir()):
        if path.suffix in (".json", ".bin", ".safetensors"):
            expected.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    assert identify(tiny_folder).fingerprint() == ls.load_model(tiny_folder).fingerprint()
    assert identify(tiny_folder).fingerprint() == f"sha256:{expected.hexdigest()}"


# JSON


@pytest.mark.parametrize("place", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot be read"),
        (b"[1]", "a JSON list, not an object|cannot be read"),
        (b'{"\xff\xfe": 1}', "codec can't decode byte"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply|recursion"),
    ],
)
def test_json_that_is_none(tiny_folder, place, content, said):
    (tiny_folder / place).write_bytes(content)
    message = refusal(tiny_folder)
    told = said if place != "tokenizer.json" else "tokenizer.json cannot be used: the tokenizers library fails on it"
    assert any(part in message for part in told.split("|"))


# Panics of libraries written in Rust


class PanicException(BaseException):
    """As pyo3 names it; it cannot be imported."""


def test_a_panic_of_the_tokenizer_library_is_one_line(tiny_folder, monkeypatch, capfd):
    def panic(*_, **__):
        os.write(2, b"thread '<unnamed>' panicked at src/lib.rs:1:2:\n")
        raise PanicException("index out of bounds")

    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "from_pretrained", panic)
    assert "cannot be read as a model (PanicException: index out of bounds)" in refusal(tiny_folder)
    assert "panicked" not in capfd.readouterr().err


def test_what_libraries_print_without_a_panic_is_kept(tiny_folder, monkeypatch, capfd):
    original = transformers.PreTrainedTokenizerFast.from_pretrained

    def talk(*arguments, **options):
        os.write(2, b"by the way\n")
        return original(*arguments, **options)

    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "from_pretrained", talk)
    ls.load_model(tiny_folder)
    assert "by the way" in capfd.readouterr().err
