import json
import re
from collections import Counter
from importlib import resources
from itertools import combinations

import pytest

from layerscope.texts.sources import open_texts


@pytest.fixture(scope="module")
def passages():
    lines = (resources.files("layerscope.texts") / "passages.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_there_are_enough_and_each_has_its_fields(passages):
    assert len(passages) >= 100
    assert all(set(passage) == {"id", "subject", "text"} for passage in passages)
    assert [passage["id"] for passage in passages] == [f"p{i:03d}" for i in range(1, len(passages) + 1)]


def test_no_two_alike(passages):
    assert len({passage["text"].casefold() for passage in passages}) == len(passages)
    words = [set(re.findall(r"\w+", passage["text"].lower())) for passage in passages]
    for one, other in combinations(words, 2):
        assert len(one & other) < 0.5 * len(one | other), (one, other)


def test_subjects_and_last_words_vary(passages):
    subjects = Counter(passage["subject"] for passage in passages)
    assert len(subjects) >= 15
    assert subjects.most_common(1)[0][1] <= 5
    assert len({passage["text"].split(" ")[-1].casefold() for passage in passages}) >= 0.9 * len(passages)


def test_lengths_vary_around_forty_words(passages):
    words = [len(passage["text"].split()) for passage in passages]
    assert min(words) >= 25
    assert max(words) <= 70
    assert max(words) - min(words) >= 30
    assert 37 <= sum(words) / len(words) <= 45


def test_each_is_one_paragraph_that_ends_exactly_with_a_word(passages):
    for passage in passages:
        context, space, last = passage["text"].rpartition(" ")
        assert re.fullmatch(r"[A-Z]?[a-z]{2,}", last), passage
        assert space, passage
        assert context[-1] not in " \t", passage
        assert not re.search(r"\s\s|[^\S ]|^\s", passage["text"]), passage


def test_most_last_words_were_met_before(passages):
    """A word that the passage has already used, singular or plural, is what makes most of them predictable."""
    met = 0
    for passage in passages:
        *context, last = re.findall(r"[a-z]+", passage["text"].lower())
        met += any(word in {last, last + "s", last.removesuffix("s")} for word in context)
    assert met >= 0.85 * len(passages)


def test_they_open_by_name(passages):
    texts = open_texts("builtin:passages")
    assert [(text.id, text.text) for text in texts] == [(passage["id"], passage["text"]) for passage in passages]
    assert texts.name == "builtin:passages"
    assert texts.skipped == 0
