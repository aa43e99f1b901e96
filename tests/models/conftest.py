"""Model folders that are made once; each test has a copy."""

import shutil

import pytest

from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made")
    for name, options in (("tiny-llama", {}), ("sharded", {"max_shard_size": "60KB"})):
        tiny_module("llama").save_pretrained(base / name, **options)
        word_tokenizer().save_pretrained(base / name)
    assert len(list((base / "sharded").glob("*.safetensors"))) > 2
    return base


@pytest.fixture
def tiny_folder(made, tmp_path):
    return shutil.copytree(made / "tiny-llama", tmp_path / "tiny-llama")


@pytest.fixture
def sharded(made, tmp_path):
    return shutil.copytree(made / "sharded", tmp_path / "sharded")
