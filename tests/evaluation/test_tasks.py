"""The built-in tasks: what they hold, that their answers are right, and that nothing but reading the context finds them."""

import hashlib
import json
import random
import re
import string
from collections import Counter, defaultdict
from importlib import resources
from itertools import pairwise

import pytest

from layerscope.errors import UsageError
from layerscope.evaluation.load_task import SOURCES, TaskSource, check_names, load_task
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.tasks.builtin import TASKS, builtin_task
from layerscope.evaluation.tasks.task import Example
from layerscope.evaluation.tokenized_task import TaskItem, TokenizedTask, content_digest
from tests.families import tiny_model

NAMES = ["builtin:cloze", "builtin:arithmetic", "builtin:commonsense", "builtin:order"]
AT_LEAST = {"builtin:cloze": 120, "builtin:arithmetic": 100, "builtin:commonsense": 80, "builtin:order": 100}


def examples_of(name: str) -> tuple[Example, ...]:
    return builtin_task(f"builtin:{name}").examples


def share(outcomes: list[float]) -> float:
    return sum(outcomes) / len(outcomes)


# All tasks


def test_names_and_records():
    assert list(TASKS) == NAMES
    for name, record in TASKS.items():
        assert record.name == name
        assert record.count == len(builtin_task(name).examples) >= AT_LEAST[name]
        assert record.summary.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_well_formed(name):
    task = builtin_task(name)
    assert (task.name, task.kind, task.summary) == (name, TASKS[name].kind, TASKS[name].summary)
    assert len({example.id for example in task.examples}) == len(task.examples)
    assert len({example.context for example in task.examples}) == len(task.examples)
    for example in task.examples:
        assert example.context == example.context.strip()
        assert example.context.isprintable() or name == "builtin:arithmetic"
        assert 0 <= example.gold < len(example.choices)
        assert len(set(example.choices)) == len(example.choices)
        assert (len(example.choices) == 1) == (task.kind == "continuation")
        for choice in example.choices:
            assert re.fullmatch(r"( [a-zA-Z0-9]+)+", choice), choice


def test_chance_follows_from_the_choices():
    assert [builtin_task(name).chance for name in NAMES[:3]] == [0, 0.25, 0.5]
    assert builtin_task("builtin:order").chance == pytest.approx((1 / 3 + 1 / 4 + 1 / 4) / 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_the_same_whatever_the_global_generator(name):
    random.seed(5)
    first = builtin_task(name)
    random.seed(6)
    assert builtin_task(name) == first


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("builtin:arithmetic", "7bc9f5691e0d5b2b"),
        ("builtin:commonsense", "bc190e962fc74bcf"),
        ("builtin:order", "68c577eaa97b052a"),
    ],
)
def test_a_changed_task_is_noticed(name, digest):
    """Scores of two versions can be compared only if the questions are the same, whatever Python draws them."""
    text = json.dumps([(e.id, e.context, e.choices, e.gold) for e in builtin_task(name).examples])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


# Loading


def test_limit_takes_the_first():
    whole = builtin_task("builtin:order").examples
    assert builtin_task("builtin:order", limit=5).examples == whole[:5]
    assert builtin_task("builtin:order", limit=10_000).examples == whole


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one(limit):
    with pytest.raises(UsageError, match=rf"^limit {limit}: must be 1 or more; leave it out to take every example$"):
        load_task("builtin:cloze", tiny_model("llama"), limit)


def test_unknown_task():
    with pytest.raises(UsageError) as caught:
        builtin_task("builtin:clozes")
    assert str(caught.value) == (
        "unknown task 'builtin:clozes': did you mean 'builtin:cloze'? "
        "Known: builtin:cloze, builtin:arithmetic, builtin:commonsense, builtin:order"
    )


@pytest.mark.parametrize("name", ["clozes", "cloze", "built-in:cloze", "lambada", "", "Builtin:cloze"])
def test_a_name_without_a_known_prefix(name):
    with pytest.raises(UsageError) as caught:
        check_names([name])
    hint = " Did you mean 'builtin:cloze'?" if "cloze" in name else ""
    assert str(caught.value) == f"task {name!r}: write a task as builtin:NAME or lm-eval:NAME.{hint}"


def test_an_include_path_means_nothing_to_builtin_tasks_alone(tmp_path):
    with pytest.raises(UsageError) as caught:
        check_names(["builtin:order", "builtin:cloze"], tmp_path)
    assert str(caught.value) == f"include path {tmp_path}: it is for lm-eval tasks, and no task is one"
    (tmp_path / "own.yaml").write_text("task: own\n")
    check_names(["builtin:order", "lm-eval:own"], tmp_path)


def test_a_source_of_another_prefix_gets_all_arguments(monkeypatch):
    calls, model = [], tiny_model("llama")

    def load(*arguments):
        calls.append(arguments)
        return TokenizedTask(arguments[0], "continuation", 0.0, (), ())

    monkeypatch.setitem(SOURCES, "elsewhere", TaskSource(lambda *arguments: calls.append(arguments), load))
    check_names(["elsewhere:some:thing"])
    assert load_task("elsewhere:some:thing", model, 3).name == "elsewhere:some:thing"
    assert calls == [("elsewhere:some:thing", None), ("elsewhere:some:thing", model, 3, None)]
    with pytest.raises(UsageError, match="elsewhere:NAME"):
        load_task("nowhere:thing", model)


# Cloze


def test_cloze_parts_every_passage_at_its_last_word():
    passages = [
        json.loads(line)
        for line in (resources.files("layerscope.texts") / "passages.jsonl").read_text("utf-8").splitlines()
    ]
    examples = examples_of("cloze")
    assert [example.id for example in examples] == [passage["id"] for passage in passages]
    for example, passage in zip(examples, passages, strict=True):
        assert example.context + example.choices[0] == passage["text"]
        assert " " not in example.choices[0][1:]
        assert example.choices[0][1:].isalpha()


# Arithmetic


def result_of(problem: str) -> int:
    left, sign, right = problem.split()
    return {"+": int.__add__, "-": int.__sub__}[sign](int(left), int(right))


def test_arithmetic_is_right():
    for example in examples_of("arithmetic"):
        *shown, asked = example.context.split("\n")
        for line in shown:
            problem, equals, result = line.partition(" = ")
            assert (equals, result) == (" = ", str(result_of(problem)))
        assert asked.endswith(" =")
        problem = asked[:-2]
        assert problem not in {line.partition(" = ")[0] for line in shown}
        assert example.choices[example.gold] == f" {result_of(problem)}"


def test_arithmetic_sorts_are_what_their_ids_say():
    sizes = defaultdict(list)
    for example in examples_of("arithmetic"):
        sort = example.id.rpartition("-")[0]
        left, sign, right = example.context.rpartition("\n")[2][:-2].split()
        assert sign == {"sum": "+", "difference": "-"}[sort.partition("-")[0]]
        sizes[sort].append((int(left), int(right)))
    assert Counter({sort: len(pairs) for sort, pairs in sizes.items()}) == Counter(
        dict.fromkeys(["sum-small", "difference-small", "sum-large", "difference-large"], 32)
    )
    assert all(max(pair) <= 18 for sort in ("sum-small", "difference-small") for pair in sizes[sort])
    assert all(pair[0] > 9 for sort in ("sum-large", "difference-large") for pair in sizes[sort])


def test_neither_size_nor_length_of_a_number_tells():
    golds = defaultdict(Counter)
    for example in examples_of("arithmetic"):
        numbers = [int(choice) for choice in example.choices]
        assert len({after - before for before, after in pairwise(numbers)}) == 1
        assert numbers == sorted(numbers)  # so the place of the right one is also its rank
        assert 1 <= numbers[0] <= numbers[-1] <= 99
        assert len({len(choice) for choice in example.choices}) == 1
        golds[example.id.rpartition("-")[0]][example.gold] += 1
    assert all(counts == Counter({0: 8, 1: 8, 2: 8, 3: 8}) for counts in golds.values())


# Commonsense


def test_commonsense_comes_in_twins():
    """The same endings, each right once: nothing that sees the endings alone is right more than half of the time."""
    examples = examples_of("commonsense")
    for first, second in zip(examples[::2], examples[1::2], strict=True):
        assert first.id[:-1] == second.id[:-1]
        assert (first.id[-1], second.id[-1]) == ("a", "b")
        assert first.choices == second.choices
        assert (first.gold, second.gold) == (0, 1)
    endings = [example.choices for example in examples[::2]]
    assert len({frozenset(pair) for pair in endings}) == len(endings)


@pytest.mark.parametrize(
    "measure",
    [
        len,
        lambda choice: len(choice.encode()),
        lambda choice: len(choice.split()),
        lambda choice: choice,
        lambda choice: int(hashlib.sha256(choice.encode()).hexdigest(), 16),
    ],
    ids=["characters", "bytes", "words", "alphabet", "any order of the endings"],
)
def test_endings_alone_tell_nothing(measure):
    outcomes = []
    for example in examples_of("commonsense"):
        best = max(map(measure, example.choices))
        picked = [place for place, choice in enumerate(example.choices) if measure(choice) == best]
        outcomes.append((example.gold in picked) / len(picked))
    assert share(outcomes) == 0.5


def test_words_of_the_sentence_tell_nothing():
    """Picking the ending that shares more words with the sentence is no better than chance."""
    outcomes = []
    for example in examples_of("commonsense"):
        words = set(re.findall(r"\w+", example.context.lower()))
        shared = [len(words & set(choice.lower().split())) for choice in example.choices]
        picked = [place for place, count in enumerate(shared) if count == max(shared)]
        outcomes.append((example.gold in picked) / len(picked))
    assert abs(share(outcomes) - 0.5) < 0.03


def test_commonsense_endings_are_of_like_length_and_on_many_subjects():
    path = resources.files("layerscope.evaluation.tasks") / "commonsense.jsonl"
    pairs = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [pair["id"] for pair in pairs] == [f"c{number:02d}" for number in range(1, len(pairs) + 1)]
    assert len({pair["subject"] for pair in pairs}) >= 20
    for pair in pairs:
        first, second = (len(choice) for choice in pair["choices"])
        assert abs(first - second) <= 14
        assert all(len(context.split()) >= 4 for context in pair["contexts"])
        assert all(context[0] in string.ascii_uppercase for context in pair["contexts"])


# Order: an account of the stories that reads nothing but the text


def follow_swaps(text: str) -> tuple[str, int]:
    holds = dict(re.findall(r"(\w+) has the (\w+)(?=[., ])", text))
    swaps = re.findall(r"(\w+) and (\w+) swap\.", text)
    assert len(holds) == len(set(holds.values())) == 3
    for one, other in swaps:
        assert one != other
        kept = holds.pop(one)
        holds[one] = holds.pop(other)
        holds[other] = kept
    return holds[re.search(r"Now (\w+) has the$", text).group(1)], len(swaps)


def follow_gifts(text: str) -> tuple[str, int]:
    holder, thing = re.match(r"(\w+) has the (\w+)\.", text).groups()
    steps = 0
    for sentence in text.split(". ")[1:-1]:
        if gift := re.fullmatch(r"(\w+) gives the (\w+) to (\w+)", sentence):
            assert gift.group(1) == holder != gift.group(3)
            assert gift.group(2) == thing
            holder = gift.group(3)
            steps += 1
        else:
            assert re.fullmatch(r"\w+ smiles", sentence)
    assert text.endswith(f"Now the one who has the {thing} is")
    return holder, steps


def follow_route(text: str) -> tuple[str, int]:
    leads = dict(re.findall(r"The bus from (\w+) goes to (\w+)\.", text))
    assert len(leads) == 4
    here = re.search(r"A traveller starts in (\w+)\.", text).group(1)
    steps = text.count("The bus takes her to")
    for city in re.findall(r"The bus takes her to (\w+)\.", text):
        here = leads[here]
        assert here == city
    return leads[here], steps


FOLLOW = {"swaps": follow_swaps, "gifts": follow_gifts, "route": follow_route}


def test_order_is_right():
    for example in examples_of("order"):
        kind, steps, _ = example.id.split("-")
        assert FOLLOW[kind](example.context) == (example.choices[example.gold][1:], int(steps)), example


def test_order_gives_every_candidate():
    for example in examples_of("order"):
        kind = example.id.split("-")[0]
        names = {choice[1:] for choice in example.choices}
        if kind == "swaps":
            assert names == {thing for _, thing in re.findall(r"(\w+) has the (\w+)(?=[., ])", example.context)}
        elif kind == "route":
            assert names == set(re.findall(r"goes to (\w+)", example.context))
        else:
            assert len(names) == 4
            assert names >= set(re.findall(r"(\w+) (?:has|gives|smiles)", example.context)) - {"who"}
            assert names >= set(re.findall(r"to (\w+)\.", example.context))


def test_order_is_balanced_in_kind_steps_and_place():
    counted = defaultdict(Counter)
    for example in examples_of("order"):
        kind, steps, _ = example.id.split("-")
        counted[kind, int(steps)][example.gold] += 1
    assert set(counted) == {(kind, steps) for kind in FOLLOW for steps in (1, 2, 3, 4)}
    for (kind, _), places in counted.items():
        assert places == Counter(dict.fromkeys(range(3), 4) if kind == "swaps" else dict.fromkeys(range(4), 3))


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("kind", list(FOLLOW))
def test_the_first_or_last_named_is_right_no_more_than_by_chance(kind, which):
    outcomes = []
    for example in examples_of("order"):
        if example.id.startswith(kind):
            named = [word for word in re.findall(r"\w+", example.context) if f" {word}" in example.choices]
            outcomes.append(example.choices[example.gold] == f" {named[which]}")
    chance = 1 / (3 if kind == "swaps" else 4)
    assert share(outcomes) < chance + 0.1


def test_digests_stay_as_they_are_in_existing_files() -> None:
    prompts = (Prompt((5, 6), ((7,), (8, 9))), Prompt((5,), ((9,),)))
    items = (TaskItem("a", ((0, 0), (0, 1)), 1, (3, 4)), TaskItem("b", ((1, 0),), None, (1,)))
    assert TokenizedTask("t", "choice", 0.5, prompts, items).digest == "cc46b9b876e64fa9"
    assert content_digest(("x", "y"), (TaskItem("a", (), None, ()),)) == "e482dc3997520606"
