import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.errors import TextsError, UsageError
from layerscope.texts.sources import Text, open_texts

# Any text that one line can hold: no \n, and no \r at the end, where it would belong to the line end.
line_texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: not text.endswith("\r") and not text.startswith("\ufeff")
)


def write(path: Path, content: bytes | str) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def message(error: type[Exception], source, **options) -> str:
    with pytest.raises(error) as raised:
        list(open_texts(source, **options))
    assert len(str(raised.value).splitlines()) <= 2
    return str(raised.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@given(
    texts=st.lists(line_texts, min_size=1, max_size=8).filter(lambda texts: any(text.strip() for text in texts)),
    end=st.sampled_from(["\n", "\r\n"]),
    last_end=st.booleans(),
    bom=st.booleans(),
    suffix=st.sampled_from([".txt", ".txt.gz", ".TXT"]),
)
def test_plain_lines_come_back_as_written(folder, texts, end, last_end, bom, suffix):
    content = "\ufeff" * bom + end.join(texts) + end * last_end
    source = open_texts(write(folder / f"plain{suffix}", content))
    for _ in range(2):
        assert list(source) == [Text(str(i), text) for i, text in enumerate(texts) if text.strip()]
        # A file that ends without a line end after an empty text has no such line at all.
        assert source.skipped == sum(not text.strip() for text in texts) - (texts[-1] == "" and not last_end)


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=8).filter(
        lambda texts: any(text.strip() for text in texts)
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    ascii_only=st.booleans(),
    bom=st.booleans(),
    suffix=st.sampled_from([".jsonl", ".jsonl.gz"]),
)
def test_json_lines_come_back_as_written(folder, texts, end, ascii_only, bom, suffix):
    lines = [json.dumps({"text": text, "other": 1}, ensure_ascii=ascii_only) + end for text in texts]
    source = open_texts(write(folder / f"objects{suffix}", "\ufeff" * bom + "".join(lines)))
    for _ in range(2):
        assert list(source) == [Text(str(i), text) for i, text in enumerate(texts) if text.strip()]
        assert source.skipped == sum(not text.strip() for text in texts)


@given(texts=st.lists(line_texts, max_size=10), limit=st.integers(1, 12))
def test_limit_counts_texts_that_are_not_blank(texts, limit):
    present = [Text(str(i), text) for i, text in enumerate(texts) if text.strip()]
    if present:
        assert list(open_texts(texts, limit=limit)) == present[:limit]
    else:
        assert "no text" in message(TextsError, texts, limit=limit)


def test_other_line_separators_stay_inside_a_text(tmp_path):
    text = "one\u2028two\u2029three\x0bfour\x0cfive\x85six\x1cseven\reight"
    assert list(open_texts(write(tmp_path / "a.txt", text + "\nnext\n"))) == [Text("0", text), Text("1", "next")]


def test_ids_are_the_records_own_else_the_line_number(tmp_path):
    ids = ['"first"', "0", '""', "7", "1.5", "null"]
    lines = ['{"text": "a"}', "", *(f'{{"text": "a", "id": {given}}}' for given in ids), '{"text": "a"}']
    source = open_texts(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert [text.id for text in source] == ["0", "first", "0", "", "7", "1.5", "7", "8"]
    assert source.skipped == 1


def test_another_field(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"body": "b", "text": "t"}\n')
    assert list(open_texts(path, field="body")) == [Text("0", "b")]


def test_any_script(tmp_path):
    texts = ["Grüße", "日本語のテキスト", "नमस्ते दुनिया", "שלום עולם", "🜁 👩‍🔬", "ไม่มีช่องว่าง"]
    assert [text.text for text in open_texts(write(tmp_path / "a.txt", "\n".join(texts)))] == texts


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", "a")
    assert open_texts("a.txt").name == "a.txt"
    assert open_texts(tmp_path / "a.txt").name == os.fspath(tmp_path / "a.txt")
    assert open_texts(["a"]).name == "iterable"


def test_a_path_object_is_a_path_even_if_it_looks_like_a_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "builtin:a.txt", "a")
    assert list(open_texts(Path("builtin:a.txt"))) == [Text("0", "a")]


def test_files_are_read_as_they_are_asked_for(tmp_path):
    path = write(tmp_path / "a.txt", b"good\n\xff\n")
    texts = iter(open_texts(path))
    assert next(texts) == Text("0", "good")
    with pytest.raises(TextsError, match="line 2"):
        next(texts)
    assert list(open_texts(path, limit=1)) == [Text("0", "good")]


def test_the_limit_asks_an_iterator_for_no_text_too_many():
    strings = iter(["a", " ", "b", "c"])
    assert [text.text for text in open_texts(strings, limit=2)] == ["a", "b"]
    assert next(strings) == "c"


def test_skipped_belongs_to_the_last_iteration():
    source = open_texts(["", "a", "\t", "b", "\u3000"])
    assert [len(list(source)), source.skipped] == [2, 3]
    texts = iter(source)
    assert source.skipped == 0
    next(texts)
    assert source.skipped == 1


def test_an_iterator_can_be_read_once_and_says_so():
    source = open_texts(iter(["a"]))
    assert source.once
    assert not open_texts(["a"]).once
    assert len(list(source)) == 1
    with pytest.raises(UsageError, match=r"iterable: .* read before: give them as a list"):
        iter(source)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"good\nbad \xe9\n", "line 2: not UTF-8 (byte 0xe9, byte 5 of the line): convert the file to UTF-8"),
        ("utf-16".encode("utf-16-le").join([b"\xff\xfe", b""]), "line 1: not UTF-8 (byte 0xff, byte 1 of the line)"),
        (b"good\ncut \xe2\x82", "line 2: not UTF-8 (byte 0xe2, byte 5 of the line)"),
        (b"surrogate \xed\xa0\x80\n", "line 1: not UTF-8"),
        (b"", "no text (it is empty): give at least one"),
        (b"\n \n\t\r\n", "no text (3 blank and no other)"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_bad_plain_lines(tmp_path, content, expected, suffix):
    path = write(tmp_path / f"a{suffix}", content)
    assert message(TextsError, path).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": "a"', "malformed JSON (Expecting ',' delimiter, column 13): each line must be one object"),
        ("plain words", "malformed JSON (Expecting value, column 1)"),
        ('{"text": "a"} {"text": "b"}', "malformed JSON (Extra data, column 15)"),
        ("[" * 200_000, "malformed JSON (maximum recursion depth exceeded"),
        ('{"text": "a", "id": ' + "9" * 5000 + "}", "malformed JSON (Exceeds the limit"),
        ('["a"]', 'a list, not an object: each line must look like {"text": "..."}'),
        ('"a"', "a string, not an object"),
        ("3", "a number, not an object"),
        ("null", "null, not an object"),
        (
            '{"body": "a", "title": "t"}',
            "no field 'text' (fields: 'body', 'title'): name the right one with --text-field",
        ),
        ("{}", "no field 'text' (fields: none)"),
        ('{"text": 3}', "field 'text' is a number, not a string"),
        ('{"text": null}', "field 'text' is null, not a string"),
        ('{"text": ["a"]}', "field 'text' is a list, not a string"),
        ('{"text": "a", "id": ["b"]}', "field 'id' is a list, not a string or a number"),
        ('{"text": "a", "id": true}', "field 'id' is a boolean, not a string or a number"),
        (r'{"text": "a\ud83d"}', r"the text contains \ud83d, half of a surrogate pair: write the whole pair"),
        (r'{"text": "a", "id": "\udc00"}', r"the id contains \udc00, half of a surrogate pair"),
        (r'{"text": "a", "id": "b\u0000"}', r"the id 'b\x00' contains a NUL character: remove it"),
        ('{"text": "é"}'.encode("latin-1"), "not UTF-8 (byte 0xe9"),
    ],
)
def test_bad_json_lines(tmp_path, line, expected):
    content = b'{"text": "good"}\n\n' + (line if isinstance(line, bytes) else line.encode()) + b'\n{"text": "good"}\n'
    path = write(tmp_path / "a.jsonl", content)
    assert message(TextsError, path).startswith(f"{path}: line 3: {expected}")


def test_a_field_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n')
    assert "line 1: no field '' (fields: 'text')" in message(TextsError, path, field="")
    assert "line 1: no field 'body' (fields: 'text')" in message(TextsError, path, field="body")


def test_only_blank_objects(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": ""}\n\n{"text": " "}\n')
    assert message(TextsError, path) == f"{path}: no text (3 blank and no other): give at least one"


def test_broken_gzip(tmp_path):
    lines = "".join(f"line {i} {os.urandom(8).hex()}\n" for i in range(20_000))
    whole = gzip.compress(lines.encode())
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    text = message(TextsError, cut)
    assert text.startswith(f"{cut}: gzip data are damaged after line ")
    assert text.endswith("fetch or compress the file again")
    assert 0 < int(text.split("after line ")[1].split()[0]) < 20_000

    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(b'{"text": "a"}\n')
    assert message(TextsError, plain).startswith(f"{plain}: gzip data are damaged after line 0 (Not a gzipped file")

    flipped = tmp_path / "flipped.txt.gz"
    flipped.write_bytes(whole[:-8] + b"\0" * 4 + whole[-4:])
    assert message(TextsError, flipped).startswith(f"{flipped}: gzip data are damaged after line")


def test_missing_files_and_directories_are_found_at_once(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(TextsError, match=r"folder\.txt is a directory: give a file in it named \.txt, \.jsonl, "):
        open_texts(tmp_path / "folder.txt")
    with pytest.raises(TextsError, match=r"absent\.txt: there is no such file"):
        open_texts(tmp_path / "absent.txt")


def test_a_file_that_goes_away_or_cannot_be_read(tmp_path):
    path = write(tmp_path / "a.txt", "a")
    source = open_texts(path)
    path.unlink()
    with pytest.raises(TextsError, match=r"a\.txt: cannot be read: No such file"):
        list(source)
    path.mkdir()
    with pytest.raises(TextsError, match=r"a\.txt: cannot be read: Is a directory"):
        list(source)


@pytest.mark.parametrize("name", ["a.xlsx", "a", "", "a.gz", "txt", "buitlin:passages", "a\0b"])
def test_unknown_kinds_of_source(name):
    assert message(UsageError, name) == (
        f"{name!r}: not a source of texts; "
        "known: builtin:passages, hf:DATASET/SPLIT, files named .txt, .jsonl, .csv, .tsv (each also .gz) or .parquet, "
        "a folder that the datasets library has saved, and - for standard input\n(texts themselves go in a list)"
    )


def test_a_long_text_in_place_of_a_source_is_not_shown_whole():
    assert message(UsageError, "A plain text. " * 100).startswith(
        f"{('A plain text. ' * 9)[:57] + '...'!r}: not a source"
    )


def test_unknown_builtin():
    expected = "unknown built-in texts 'builtin:pasages': did you mean 'builtin:passages'? Known: builtin:passages"
    assert message(UsageError, "builtin:pasages") == expected


@pytest.mark.parametrize("limit", [0, -3])
def test_impossible_limit(limit):
    with pytest.raises(UsageError, match=rf"^limit {limit}: must be 1 or more"):
        open_texts(["a"], limit=limit)


def test_a_field_where_there_are_none(tmp_path):
    path = write(tmp_path / "a.txt", "a")
    assert message(UsageError, path, field="body").startswith(f"{path}: plain texts have no field 'body'")
    assert message(UsageError, ["a"], field="body").startswith("texts[0]: plain texts have no field 'body'")
    assert message(UsageError, ["a"], metadata=("year",)).startswith("texts[0]: plain texts have no field 'year'")


def test_elements_that_are_no_texts():
    assert message(TextsError, (text for text in ["a", 3])).startswith(
        "texts[1] is of type int: give a list of strings"
    )
    assert message(TextsError, (text for text in [b"a"])).startswith(
        "texts[0] is of type bytes: give a list of strings"
    )
    assert message(TextsError, ["a", "\ud800"]).startswith(r"texts[1]: the text contains \ud800")
    assert message(TextsError, []) == "iterable: no text (it is empty): give at least one"
