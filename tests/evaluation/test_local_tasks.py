"""The definitions of `analyses/tasks` ask what lm-eval's own ask, of the same rows in the layout of local files."""

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from layerscope.errors import TextsError
from layerscope.evaluation.lm_eval.loading import LmEvalTask, load_lm_eval_task

TASKS = Path(__file__).parent.parent.parent / "analyses" / "tasks"

Rows = list[dict[str, Any]]

PASSAGES: Rows = [
    {"text": 'The man with the "green" lamp\n\nwent home. He lit the lamp'},
    {"text": "one\u2028two three"},
]
CHOICES = [["1", "2", "3"], ["A", "B", "C", "D", "E"]]
QUESTIONS = [("Which is it?", labels, [f"it's the {n}th" for n in labels], labels[-1]) for labels in CHOICES]
STORIES: Rows = [{"activity_label": "Baking", "ctx": "She opens the oven. She", "label": 1, "endings": list("wxyz")}]
GAPS: Rows = [{"sentence": "Ann saw Bea so _ waved _ twice.", "option1": "Ann", "option2": "Bea", "answer": "2"}]
SUMS: Rows = [{"question": f"What is {n} and 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(8)]


def arc_here() -> Rows:
    return [
        {
            "id": "q",
            "question": {
                "stem": stem,
                "choices": [{"text": t, "label": n} for t, n in zip(texts, labels, strict=True)],
            },
            "answerKey": key,
        }
        for stem, labels, texts, key in QUESTIONS
    ]


def arc_there() -> Rows:
    return [
        {"id": "q", "question": stem, "choices": {"text": texts, "label": labels}, "answerKey": key}
        for stem, labels, texts, key in QUESTIONS
    ]


def stories_there() -> Rows:
    before, _, after = STORIES[0]["ctx"].rpartition(" ")
    return [STORIES[0] | {"ctx_a": before, "ctx_b": after, "label": "1"}]


# Name here and there, the file here, its rows, and the same rows as the hub has them, with their split.
CASES = [
    ("lambada", "lambada_openai", "lambada/lambada_openai_test.jsonl", PASSAGES, PASSAGES, "test"),
    ("arc_easy", "arc_easy", "arc_easy/test.jsonl", arc_here(), arc_there(), "test"),
    ("arc_challenge", "arc_challenge", "arc_challenge/test.jsonl", arc_here(), arc_there(), "test"),
    ("hellaswag", "hellaswag", "hellaswag/validation.jsonl", STORIES, stories_there(), "validation"),
    ("winogrande", "winogrande", "winogrande/dev.jsonl", GAPS, GAPS, "validation"),
    ("gsm8k", "gsm8k", "gsm8k/test.jsonl", SUMS, SUMS, "test"),
]


def write(path: Path, rows: Rows, packed: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if packed:
        path = path.with_name(path.name + ".gz")
        content = gzip.compress(content)
    path.write_bytes(content)


def asked_of(asked: LmEvalTask) -> list[tuple[Any, ...]]:
    return [(request.request_type, request.args, request.doc_id) for request in asked.requests]


@pytest.mark.parametrize(("own", "theirs", "file", "here", "there", "split"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("packed", [False, True])
def test_asks_what_lm_eval_asks(
    own: str,
    theirs: str,
    file: str,
    here: Rows,
    there: Rows,
    split: str,
    packed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / file, here, packed)
    if own == "gsm8k":
        write(tmp_path / "gsm8k/train.jsonl", SUMS, packed)
    monkeypatch.setenv("LAYERSCOPE_DATA", str(tmp_path))
    local = load_lm_eval_task(f"local_{own}", None, TASKS)
    hub = {name: datasets.Dataset.from_list(there) for name in {split, "train"}}
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: hub)
    reference = load_lm_eval_task(theirs, None, None)
    assert asked_of(local) == asked_of(reference)
    graded = {"metric_list", "num_fewshot", "generation_kwargs", "filter_list", "output_type", "repeats"}
    mine, yours = (asked.task.config.to_dict() for asked in (local, reference))
    assert {name: mine.get(name) for name in graded} == {name: yours.get(name) for name in graded}
    # Of winogrande the text says which context is right; of hellaswag lm-eval's own label is text.
    gold = [
        [(task.doc_to_text(doc), str(task.doc_to_target(doc))) for doc in task.eval_docs]
        for task in (local.task, reference.task)
    ]
    assert gold[0] == gold[1]


def test_without_the_folder_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERSCOPE_DATA", raising=False)
    with pytest.raises(
        TextsError, match=r"set LAYERSCOPE_DATA to the folder that holds lambada/lambada_openai_test.jsonl"
    ):
        load_lm_eval_task("local_lambada", None, TASKS)


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_DATA", str(tmp_path))
    with pytest.raises(TextsError, match=r"arc_easy/test\.jsonl"):
        load_lm_eval_task("local_arc_easy", None, TASKS)
