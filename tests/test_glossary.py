"""One word, one thing: the code defines each word of the glossary in one place at most."""

import pytest

from tests import glossary


def test_every_word_of_the_glossary_is_defined_in_one_place_at_most() -> None:
    assert glossary.defined_twice() == {}


def test_the_glossary_explains_the_words_of_the_package() -> None:
    words, places = glossary.glossary(), glossary.definitions()
    assert len(words) > 30
    assert places["schedule"] == {"schedules/schedule.py"}
    assert {word for word in words if word.replace(" ", "_") in places} >= {"capture", "sweep", "record", "variant"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("measures/sweep.py", "X = 1\n"),
        ("models/other.py", "class Sweep:\n    pass\n"),
        ("models/other.py", "def sweep():\n    pass\n"),
    ],
)
def test_a_second_module_class_or_function_is_noticed(tmp_path, monkeypatch, path, source) -> None:
    for name, text in (
        ("evaluation/sweep.py", "def sweep(): ...\n"),
        ("cli/sweep.py", ""),
        ("sweeps/a.py", ""),
        (path, source),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(glossary, "PACKAGE", tmp_path)
    assert glossary.defined_twice() == {"sweep": {"evaluation/sweep.py", path}}
