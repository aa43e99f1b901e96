"""Datasets through the `datasets` library; a folder below the working directory stands in for the hub."""

import sys

import datasets
import pytest

from layerscope.errors import TextsError, UsageError
from layerscope.texts.hub import parse_hub_source
from layerscope.texts.sources import Text, open_texts

ROWS = '{"text": "a", "id": "one", "n": 1}\n{"text": " ", "id": "two", "n": 2}\n{"text": "c", "id": null, "n": 3}\n'


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for folder in ("name", "owner/name"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "test.jsonl").write_text(ROWS)


@pytest.mark.parametrize("source", ["hf:name/test", "hf:owner/name/test"])
def test_rows_become_texts_again_and_again(source):
    texts = open_texts(source)
    assert texts.name == source
    for _ in range(2):
        assert list(texts) == [Text("one", "a"), Text("2", "c")]
        assert texts.skipped == 1
    assert list(open_texts(source, limit=1)) == [Text("one", "a")]


def test_a_configuration_is_passed_on(monkeypatch):
    asked = {}

    def load_dataset(*names, **options):
        asked.update(options, names=names)
        return [{"text": "a"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(open_texts("hf:owner/name:english/validation")) == [Text("0", "a")]
    assert asked == {"names": ("owner/name", "english"), "split": "validation", "streaming": True}


def test_a_field_that_is_missing_or_no_string():
    with pytest.raises(TextsError, match=r"hf:name/test: row 1: no field 'body' \(fields: 'text', 'id', 'n'\): "):
        list(open_texts("hf:name/test", field="body"))
    with pytest.raises(TextsError, match="hf:name/test: row 1: field 'n' is a number, not a string"):
        list(open_texts("hf:name/test", field="n"))


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(TextsError, match=r"hf:name/dev: cannot be read: .*dev.*\['test'\]") as raised:
        open_texts("hf:name/dev")
    assert len(str(raised.value).splitlines()) == 2


def test_a_hub_out_of_reach_leaves_a_remedy():
    with pytest.raises(TextsError) as raised:
        open_texts("hf:owner/absent/test")
    first, second = str(raised.value).splitlines()
    assert first.startswith("hf:owner/absent/test: cannot be read: Couldn't reach 'owner/absent' on the Hub")
    assert second.endswith("or give the texts as a .jsonl file.")


def test_a_stream_that_breaks_names_its_row(monkeypatch):
    def rows():
        yield {"text": "a"}
        raise ConnectionError("the line went dead\nand more")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows())
    texts = iter(open_texts("hf:owner/name/test"))
    assert next(texts) == Text("0", "a")
    with pytest.raises(TextsError, match=r"hf:owner/name/test: row 2: cannot be read: the line went dead\.\nCheck"):
        next(texts)


def test_without_the_library_the_remedy_is_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        TextsError, match=r"^hf:name/test: needs the datasets library: pip install 'layerscope\[bench\]'$"
    ):
        open_texts("hf:name/test")


@pytest.mark.parametrize(
    "source",
    ["hf:", "hf:name", "hf:/test", "hf:name/", "hf:a/b/c/d", "hf:a:b:c/d", "hf:a b/c", "hf:a/b:/c", "hf:a/t[:9]"],
)
def test_malformed_sources(source):
    with pytest.raises(UsageError, match=r" is not of the form hf:DATASET/SPLIT, as in hf:owner/name/test"):
        open_texts(source)


def test_parts():
    assert parse_hub_source("hf:a/b") == ("a", None, "b")
    assert parse_hub_source("hf:a/b/c") == ("a/b", None, "c")
    assert parse_hub_source("hf:a:en/c") == ("a", "en", "c")
