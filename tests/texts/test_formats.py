"""Tables, datasets, standard input and objects of Python: the same records give the same texts, whatever holds them."""

import csv
import gzip
import io
import json
import sys
from types import SimpleNamespace

import datasets
import numpy as np
import pandas
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import BatchEncoding

from layerscope.errors import TextsError, UsageError
from layerscope.texts.sources import open_texts
from layerscope.texts.text import Text
from tests.texts.test_sources import message

RECORDS = [
    {"id": "p01", "body": 'one, "two"\nthree', "author": "Ada"},
    {"id": "p02", "body": "\ttab; semicolon ", "author": ""},
    {"id": "p03", "body": "naïve café – 東京", "author": "Bo"},
]
TEXTS = [Text(record["id"], record["body"], None, {"author": record["author"]}) for record in RECORDS]


def read(source, **options):
    return list(open_texts(source, **{"field": "body", "metadata": ("author",)} | options))


def delimited(records, delimiter):
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(records)
        return file.getvalue().encode()


def saved(folder, records):
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    contents = {"a.jsonl": lines, "a.csv": delimited(records, ","), "a.tsv": delimited(records, "\t")}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    pandas.DataFrame(records).to_parquet(folder / "a.parquet")
    datasets.Dataset.from_list(records).save_to_disk(folder / "dataset")
    return [*contents, *(f"{name}.gz" for name in contents), "a.parquet", "dataset"]


def test_files_of_every_kind_give_the_same_texts(tmp_path):
    for name in saved(tmp_path, RECORDS):
        assert read(tmp_path / name) == TEXTS, name
        assert read(str(tmp_path / name), limit=1) == TEXTS[:1], name


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1), min_size=1, max_size=4
    )
)
def test_delimited_files_keep_every_character(tmp_path, bodies):
    records = [{"body": body, "author": "x"} for body in bodies]
    expected = [(str(number), body) for number, body in enumerate(bodies) if body.strip()]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        (tmp_path / name).write_bytes(delimited(records, delimiter))
        if expected:
            assert [(text.id, text.text) for text in read(tmp_path / name)] == expected


def test_objects_of_python_give_the_same_texts():
    frame = pandas.DataFrame(RECORDS)
    dataset = datasets.Dataset.from_list(RECORDS)
    for source in (RECORDS, frame, frame.set_index("id"), dataset, dataset.to_iterable_dataset(), iter(RECORDS)):
        assert read(source) == TEXTS, type(source)
    assert read({record["id"]: {**record, "id": None} for record in RECORDS})[0].text == RECORDS[0]["body"]
    plain = {record["id"]: record["body"] for record in RECORDS}
    for texts in (plain, pandas.Series(plain)):
        assert list(open_texts(texts)) == [Text(text.id, text.text) for text in TEXTS]


def test_a_frame_of_polars_is_read_by_its_named_rows():
    frame = type("Frame", (), {"iter_rows": lambda self, named: iter(RECORDS), "__iter__": lambda self: iter(())})()
    assert read(frame) == TEXTS


def test_the_index_of_a_filtered_frame_gives_the_ids():
    frame = pandas.DataFrame({"text": ["a", "b", "c", "d"], "keep": [False, True, False, True]})
    assert [text.id for text in open_texts(frame[frame.keep])] == ["1", "3"]


def test_nested_fields_and_names_with_a_dot():
    record = {"a": {"b": {"c": "deep"}}, "x.y": "flat", "m": {"lang": "de", "year": np.int64(3)}}
    assert next(iter(open_texts([record], field="a.b.c"))).text == "deep"
    text = next(iter(open_texts([record], field="x.y", metadata=("m.lang", "m.year"))))
    assert (text.text, text.metadata) == ("flat", {"m.lang": "de", "m.year": 3})
    assert "texts[0], a: no field 'z' (fields: 'b')" in message(TextsError, [record], field="a.z")
    assert "field 'm' is an object, not a single value" in message(TextsError, [record], field="x.y", metadata=("m",))


@pytest.mark.parametrize(
    "ids",
    [
        [5, 6, 7],
        (5, 6, 7),
        np.array([5, 6, 7]),
        torch.tensor([5, 6, 7]),
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]},
    ],
)
def test_token_ids_are_taken_as_they_are(ids):
    (text,) = open_texts([ids])
    assert (text.id, text.text, text.token_ids) == ("0", "", (5, 6, 7))


def test_token_ids_of_files(tmp_path):
    records = [{"id": "a", "input_ids": [1, 2]}, {"id": "b", "input_ids": [3]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pandas.DataFrame(records).to_parquet(tmp_path / "a.parquet")
    datasets.Dataset.from_list(records).save_to_disk(tmp_path / "saved")
    for name in ("a.jsonl", "a.parquet", "saved"):
        for field in (None, "input_ids"):
            assert [text.token_ids for text in open_texts(tmp_path / name, field=field)] == [(1, 2), (3,)]
    both = {"text": "words", "input_ids": [1]}
    assert next(iter(open_texts([both]))).text == "words"
    assert next(iter(open_texts([both], field="input_ids"))).token_ids == (1,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\n\n  \ntwo\nthree\n\n\n", [("0", "one"), ("1", "two\nthree")]),
        (b"\xef\xbb\xbfone\r\nmore\r\n\r\ntwo", [("0", "one\nmore"), ("1", "two")]),
    ],
)
def test_paragraphs(tmp_path, content, expected):
    (tmp_path / "a.txt").write_bytes(content)
    assert [tuple(text[:2]) for text in open_texts(tmp_path / "a.txt", split="blank-line")] == expected


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (b"one\n\ntwo\n", {}, [("0", "one"), ("2", "two")]),
        (b"one\ntwo\n\nthree", {"split": "blank-line"}, [("0", "one\ntwo"), ("1", "three")]),
        (b'  {"id": "x", "text": "one"}\n', {}, [("x", "one")]),
        (b'\n{"body": "one"}\n', {"field": "body"}, [("1", "one")]),
        (b' \n\n{"text": "one"}\n', {}, [("2", "one")]),
        (b'\n{"text":\n"one"}\n\ntwo', {"split": "blank-line"}, [("0", '{"text":\n"one"}'), ("1", "two")]),
        (b"[1] one\n", {}, [("0", "[1] one")]),
    ],
)
def test_standard_input(monkeypatch, content, options, expected):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    texts = open_texts("-", **options)
    assert [tuple(text[:2]) for text in texts] == expected
    with pytest.raises(UsageError, match="were read before"):
        list(texts)


def test_standard_input_of_another_form_is_refused(monkeypatch):
    for content in (b'[{"text": "one"}]', b'\n[\n{"text": "one"}\n]'):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert "begins as a JSON array: give one object a line" in message(TextsError, "-")
    assert "plain texts have no field 'body'" in message(UsageError, "-", field="body", split="blank-line")


def test_padding_of_token_ids_is_left_out():
    padded = [
        {"input_ids": [0, 0, 5, 6], "attention_mask": [0, 0, 1, 1]},
        {"input_ids": [7], "attention_mask": np.array([1])},
        {"input_ids": [8, 9], "attention_mask": [True, False]},
    ]
    expected = [(5, 6), (7,), (8,)]
    assert [text.token_ids for text in open_texts(padded)] == expected
    renamed = [{"tokens": record["input_ids"], "attention_mask": record["attention_mask"]} for record in padded]
    assert [text.token_ids for text in open_texts(renamed, field="tokens")] == expected
    nested = [{"encoded": record, "attention_mask": "of something else"} for record in padded]
    assert [text.token_ids for text in open_texts(nested, field="encoded.input_ids")] == expected
    of_the_other = [{"tokens": [1, 2, 3]} | padded[0]]
    assert next(iter(open_texts(of_the_other, field="tokens"))).token_ids == (1, 2, 3)
    for mask in ([1], "10", [1, "0"], 3):
        assert "its attention_mask is not a list of 2 zeros and ones" in message(
            TextsError, [{"input_ids": [5, 6], "attention_mask": mask}]
        )
    assert "field 'input_ids' is a string, not a list of token ids" in message(
        TextsError, [{"input_ids": "[5, 6]"}], field="input_ids"
    )


def test_what_a_tokenizer_returns_is_its_texts():
    one = {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 0], "token_type_ids": [0, 0, 0]}
    assert [text.token_ids for text in open_texts(BatchEncoding(one))] == [(5, 6)]
    rows = {"input_ids": [[5, 6], [7, 0]], "attention_mask": [[1, 1], [1, 0]]}
    for encoded in (rows, BatchEncoding({name: torch.tensor(values) for name, values in rows.items()})):
        assert [tuple(text[:3]) for text in open_texts(encoded)] == [("0", "", (5, 6)), ("1", "", (7,))]


@pytest.mark.parametrize(
    ("record", "options"),
    [
        ({"id": "p3", "text": "three"}, {}),
        ({"text": "three"}, {}),
        ({"id": "p3", "body": "three"}, {"field": "body"}),
        ({"messages": [{"role": "user", "content": "Hi"}]}, {"chat": True}),
    ],
)
def test_one_record_is_no_mapping_of_ids(record, options):
    assert "not a mapping of ids to texts: put it in a list" in message(UsageError, record, **options)


def test_whole_numbers_and_dates_of_tables_stay_what_they_are():
    ids = [text.id for text in open_texts(pandas.DataFrame({"id": [1, None, 3], "text": ["a", "b", "c"]}))]
    assert ids == ["1", "1", "3"]  # the second has the label of its row
    day = np.datetime64("2020-01-02")
    times = {
        "day": day,
        "second": day.astype("datetime64[s]"),
        "nano": day.astype("datetime64[ns]"),
        "none": np.datetime64("NaT"),
    }
    (text,) = open_texts([{"text": "a"} | times], metadata=tuple(times))
    assert list(text.metadata.values()) == ["2020-01-02", "2020-01-02T00:00:00", "2020-01-02T00:00:00", None]
    assert "'took' is a timedelta, not a single value: make it a string or a number" in message(
        TextsError, [{"text": "a", "took": np.timedelta64(3, "ns")}], metadata=("took",)
    )


def test_what_holds_no_texts_is_refused():
    assert message(UsageError, io.StringIO("a\nb\n")) == "texts are an open file: give its path, or its lines as a list"
    splits = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(RECORDS), "test": datasets.Dataset.from_list(RECORDS)}
    )
    assert message(UsageError, splits) == "texts are the splits train, test: give one, as in texts['train']"
    for source in ({"a", "b"}, b"bytes", 3, None):
        assert message(UsageError, source).startswith(
            f"texts are of type {type(source).__name__}: give a list of strings"
        )
    for item in (b"bytes", 3, None, 2.5, True, ["a"], [[1]], [1.5], [True], np.array(5), torch.tensor(5)):
        assert message(TextsError, [item]).startswith(
            f"texts[0] is of type {type(item).__name__}: give a list of strings"
        )
    missing = pandas.DataFrame({"text": ["a", None]})
    assert "texts[1]: field 'text' is null, not a string" in message(TextsError, missing)
    assert "no field 'text' (fields: 'body')" in message(TextsError, pandas.DataFrame({"body": ["a"]}))
    twice = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    assert "'text' names more than one column" in message(TextsError, twice)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"text,text\na,b\n", "'text' names more than one column: rename one"),
        ("a.csv", b"id,text\n1,a,b\n", "line 2: 3 fields, and the first row names 2 columns"),
        ("a.csv", b'text\n"open\n\n', "malformed table"),
        ("a.csv", b"text\n\xff\n", "line 2: not UTF-8 (byte 0xff, byte 1 of the line): convert the file to UTF-8"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0", "line 1: not UTF-8"),
        ("a.txt", b"\x89PNG\0\n", "it holds no text, or text in UTF-16; give a text file"),
        ("a.tsv", b"body\nx\n", "line 2: no field 'text' (fields: 'body'): name the right one with --text-field"),
        ("a.parquet", b"no parquet", "cannot be read as a parquet file: "),
    ],
)
def test_faults_of_tables(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert said in message(TextsError, tmp_path / name)


def test_a_field_that_is_not_in_a_parquet_file_is_named_with_those_that_are(tmp_path):
    pandas.DataFrame(RECORDS).to_parquet(tmp_path / "a.parquet")
    assert "row 1: no field 'story' (fields: 'id', 'body', 'author')" in message(
        TextsError, tmp_path / "a.parquet", field="story"
    )


def test_a_long_field_and_a_folder_of_splits(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "a" * 300_000 + "\n")
    assert len(next(iter(open_texts(tmp_path / "a.csv"))).text) == 300_000
    datasets.DatasetDict({"train": datasets.Dataset.from_list(RECORDS)}).save_to_disk(tmp_path / "both")
    assert message(TextsError, tmp_path / "both") == (
        f"{tmp_path / 'both'} holds the splits train: give one of them, as in {tmp_path / 'both'}/SPLIT"
    )
    assert read(tmp_path / "both" / "train") == TEXTS


def test_a_split_is_for_plain_texts_only(tmp_path):
    (tmp_path / "a.csv").write_text("text\na\n")
    for source in (tmp_path / "a.csv", "builtin:passages", ["a"]):
        with pytest.raises(UsageError, match="split"):
            open_texts(source, split="blank-line")
    with pytest.raises(UsageError, match="unknown split 'page'"):
        open_texts(tmp_path / "a.csv", split="page")
