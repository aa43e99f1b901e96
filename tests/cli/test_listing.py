"""What ``layerscope list`` prints is what the tables say."""

import json
import re

import pytest

from layerscope.evaluation.tasks.builtin import TASKS, builtin_task
from layerscope.measures.catalogue import MEASURES
from layerscope.schedules.spec import parse_spec
from layerscope.schedules.variant import VARIANTS
from tests.cli.test_commands import run


def test_variants():
    rows = json.loads(run("list", "variants", "--json").stdout)
    assert [row["variant"] for row in rows] == list(VARIANTS)
    assert all(list(row) == ["variant", "form", "place", "figure", "summary"] for row in rows)
    by_name = {row["variant"]: row for row in rows}
    assert by_name["looped_parallel"]["form"] == "looped_parallel:N:loops=3"
    assert by_name["skip"] == {
        "variant": "skip",
        "form": "skip:N",
        "place": "N: affects N+1 to T-N-1",
        "figure": "4, 12",
        "summary": "Leave the affected blocks out.",
    }
    for row in rows:
        assert "`" not in row["summary"]
        example = row["form"].replace(":A-B", ":1-2").replace(":N", ":1").replace(":I", ":1")
        assert str(parse_spec(example)) == example  # a form is what can be typed, its letters replaced


def test_tasks():
    rows = json.loads(run("list", "tasks", "--json").stdout)
    assert [row["task"] for row in rows] == list(TASKS)
    for row in rows:
        task = builtin_task(row["task"])
        assert row == {
            "task": task.name,
            "kind": task.kind,
            "examples": len(task.examples),
            "summary": task.summary,
        }


def test_measures_show_their_laws_and_cost():
    rows = {row["measure"]: row for row in json.loads(run("list", "measures", "--json").stdout)}
    assert list(rows) == list(MEASURES)
    row = rows["pwcca"]
    assert row["invariant to"] == "permutation, scale, translation"
    assert (row["symmetric"], row["fewest tokens"], row["tokens ≤ features"]) == ("no", 3, "refused")
    assert row["cost"] == MEASURES["pwcca"].cost
    assert (rows["norm"]["symmetric"], rows["rsa"]["tokens ≤ features"]) == ("", "taken")


@pytest.mark.parametrize("what", ["models", "variants", "tasks", "measures"])
def test_the_table_has_a_line_an_entry_in_a_pipe(what):
    rows = json.loads(run("list", what, "--json").stdout)
    lines = run("list", what).stdout.splitlines()
    assert len(lines) == 1 + len(rows)
    key = lines[0].split()[0]
    assert [line.split()[0] for line in lines[1:]] == [row[key] for row in rows]


def test_measures_fit_a_terminal():
    lines = [line.rstrip() for line in run("list", "measures").stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert re.split(r"\s{2,}", lines[0]) == ["measure", "what it measures", "range", "cost"]
    row = next(line for line in lines if line.startswith("curvature"))
    assert re.split(r"\s{2,}", row) == ["curvature", MEASURES["curvature"].what, "[0, π]", "cheap"]


@pytest.mark.parametrize(
    ("what", "name"), [("models", "llama"), ("measures", "cka"), ("variants", "skip"), ("tasks", "builtin:cloze")]
)
def test_details_of_one(what, name):
    (row,) = json.loads(run("list", what, name, "--json").stdout)
    assert next(iter(row.values())) == name
    assert row in json.loads(run("list", what, "--json").stdout)
    printed = [re.split(r"\s{2,}", line, maxsplit=1) for line in run("list", what, name).stdout.splitlines()]
    assert dict(printed) == {label: str(value) for label, value in row.items()}


def test_an_unknown_name_is_refused():
    assert "did you mean 'cka'?" in run("list", "measures", "ckaa", code=2).stderr


def test_the_help_names_all_that_can_be_listed():
    assert "models, measures, variants or tasks" in run("list", "--help").stdout
    assert "everything" in run("list", "everything", code=2).stderr
