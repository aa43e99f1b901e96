"""What can be wrong with a task of lm-eval, said in a line or two; and what the bridge leaves as it was."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from layerscope.errors import LayerScopeError, TextsError, UsageError
from layerscope.evaluation.evaluate import evaluate
from layerscope.evaluation.lm_eval import index
from layerscope.evaluation.lm_eval.index import find_definition
from layerscope.evaluation.lm_eval.isolation import silent
from layerscope.evaluation.load_task import load_task
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.evaluation.lm_eval_tasks import DEFINITIONS, define, model_with_end, write_tasks
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.fixture(scope="module")
def model() -> Model:
    return model_with_end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def said(error: pytest.ExceptionInfo[LayerScopeError]) -> str:
    text = str(error.value)
    assert text.count("\n") <= 1
    return text


# Names


def test_an_unknown_task_is_refused_with_the_nearest_name(model: Model, folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        load_task("lm-eval:lambada_opnai", model)
    assert said(error) == (
        "unknown task 'lm-eval:lambada_opnai': did you mean 'lm-eval:lambada_openai'? `lm-eval ls tasks` lists them all; "
        "--include-path DIR adds your own"
    )
    with pytest.raises(UsageError, match=f"did you mean 'lm-eval:tiny_sum'.*{folder.name} does not define it either"):
        load_task("lm-eval:tiny_sun", model, None, folder)


def test_a_group_or_tag_is_refused_with_its_members(model: Model) -> None:
    with pytest.raises(UsageError) as error:
        load_task("lm-eval:mmlu", model)
    assert said(error) == (
        "'lm-eval:mmlu' is a group of several lm-eval tasks, which are scored separately: name the tasks, as in "
        "--task lm-eval:mmlu_humanities --task lm-eval:mmlu_other"
    )
    with pytest.raises(
        UsageError, match=r"'lm-eval:ai2_arc' is a tag of several lm-eval tasks.*--task lm-eval:arc_easy"
    ):
        load_task("lm-eval:ai2_arc", model)


def test_names_are_found_where_lm_evals_own_index_finds_them() -> None:
    with silent():
        from lm_eval.tasks import TaskManager
    for part in ("arc", "mmlu/default", "aradice", "gsm8k", "scrolls", "squadv2"):
        root = index._default_folder() / part
        theirs = TaskManager(include_path=str(root), include_defaults=False).task_index
        found = index._definitions(root)
        kinds = {name: entry.kind.name.lower().removeprefix("py_") for name, entry in theirs.items()}
        assert kinds
        ours = {name: definition.kind for name, definition in found.items()}
        assert ours == kinds
        assert all(found[name].path == entry.yaml_path for name, entry in theirs.items() if entry.yaml_path)


def test_own_definitions_come_before_lm_evals(folder: Path, tmp_path: Path) -> None:
    _, text = DEFINITIONS["tiny_last_word"]
    define(tmp_path, "lambada_openai", folder.parent / "last_word.jsonl", text)
    assert find_definition("lambada_openai", tmp_path) == tmp_path / "lambada_openai.yaml"
    assert find_definition("lambada_openai", None).parent.name == "lambada"


def test_a_folder_that_is_not_there_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--include-path .*nowhere: there is no such folder"):
        load_task("lm-eval:tiny_sum", model, None, tmp_path / "nowhere")


def test_without_lm_eval_the_extra_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UsageError, match=r"pip install 'layerscope\[bench\]'"):
        load_task("lm-eval:lambada_openai", model)


def test_a_limit_is_at_least_one(model: Model, folder: Path) -> None:
    with pytest.raises(UsageError, match="limit 0: must be 1 or more"):
        load_task("lm-eval:tiny_sum", model, 0, folder)


# Data and definitions


def test_data_out_of_reach_are_refused_with_what_supplies_them(model: Model) -> None:
    with pytest.raises(TextsError) as error:
        load_task("lm-eval:lambada_openai", model)
    text = said(error)
    assert "lm-eval:lambada_openai: its data cannot be read" in text
    assert "EleutherAI/lambada_openai" in text
    assert "HF_HUB_OFFLINE" in text
    assert "--include-path" in text
    assert error.value.exit_code == 1


def test_a_missing_data_file_is_named(model: Model, tmp_path: Path) -> None:
    define(tmp_path, "lost", tmp_path / "lost.jsonl", DEFINITIONS["tiny_sum"][1])
    with pytest.raises(TextsError, match=r"lm-eval:lost: its data cannot be read \(.*lost\.jsonl"):
        load_task("lm-eval:lost", model, None, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("output_type: generate_until", "output_type: loud"), r"cannot load wrong\.yaml \(ValueError: .*loud"),
        (
            ("doc_to_target: solution", "doc_to_target: '{{nothing}}'"),
            r"lm-eval cannot load wrong\.yaml \(UndefinedError",
        ),
        (
            ("doc_to_target: solution", "doc_to_target: !function gone.away"),
            r"its definition needs packages that are not installed",
        ),
        (
            ("max_gen_toks: 9", "max_gen_toks: 64"),
            r"an answer may have 64 tokens, but tiny accepts 64 with the question",
        ),
        (("num_fewshot: 1", "unsafe_code: true"), "runs code that the model generates"),
    ],
)
def test_definitions_that_cannot_be_run_are_refused(
    model: Model, folder: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    _, text = DEFINITIONS["tiny_sum"]
    assert change[0] in text
    define(tmp_path, "wrong", folder.parent / "sum.jsonl", text.replace(*change))
    with pytest.raises(TextsError, match=message) as error:
        load_task("lm-eval:wrong", model, None, tmp_path)
    said(error)


def test_a_continuation_without_tokens_or_room_is_refused(model: Model, folder: Path, tmp_path: Path) -> None:
    _, text = DEFINITIONS["tiny_long"]
    data = folder.parent / "page.jsonl"
    define(tmp_path, "empty", data, text.replace("doc_to_target: \"{{' ' +", "doc_to_target: \"{{'' if 1 else"))
    with pytest.raises(TextsError, match="lm-eval:empty 0: the continuation '' has no token after its context"):
        load_task("lm-eval:empty", model, None, tmp_path)
    define(tmp_path, "long", data, text.replace("[-3:]", "").replace("[:-3]", "[:1]"))
    with pytest.raises(TextsError, match="a continuation is longer than the limit of 64 tokens of tiny"):
        load_task("lm-eval:long", model, None, tmp_path)


@pytest.mark.parametrize(
    ("label", "target", "said_as"),
    [
        (-100, "right", "-100"),
        (7, "right", "7"),
        (9, "\"{{options[right] if right < 9 else 'neither'}}\"", "'neither'"),
    ],
)
def test_a_right_answer_that_is_no_choice_is_refused(
    model: Model, folder: Path, tmp_path: Path, label: int, target: str, said_as: str
) -> None:
    """One wrong label would make the loss of the whole task NaN."""
    lines = [json.loads(line) for line in (folder.parent / "question.jsonl").read_text().splitlines()]
    lines[2]["right"] = label
    data = tmp_path / "wrong.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = DEFINITIONS["tiny_question"][1].replace("num_fewshot: 2\nfewshot_split: test\n", "")
    define(tmp_path, "wrong", data, text.replace("doc_to_target: right", f"doc_to_target: {target}"))
    with pytest.raises(TextsError) as error:
        load_task("lm-eval:wrong", model, None, tmp_path)
    assert said(error) == (
        f"lm-eval:wrong 2: the right answer, {said_as}, is not one of {len(lines[2]['options'])} choices.\n"
        "Correct the data, or leave the example out (process_docs) in a definition of your own (--include-path)."
    )
    assert len(load_task("lm-eval:wrong", model, 2, tmp_path).items) == 2


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_a_metric_that_cannot_be_computed_is_found_before_the_model_runs(
    model: Model, folder: Path, tmp_path: Path, limit: int | None
) -> None:
    """F1 of more than two classes, by the choices of the task and not by what the model happens to answer."""
    text = DEFINITIONS["tiny_question"][1].replace("num_fewshot: 2\nfewshot_split: test\n", "")
    head, _ = text.split("metric_list:")
    define(
        tmp_path, "wrong", folder.parent / "question.jsonl", f"{head}metric_list: [{{metric: f1, aggregation: f1}}]\n"
    )
    runs = [0]
    handle = model.blocks[0].register_forward_hook(lambda *_: runs.__setitem__(0, runs[0] + 1))
    try:
        with pytest.raises(
            TextsError, match=r"lm-eval:wrong: its metric f1 cannot be computed \(ValueError: "
        ) as error:
            evaluate(model, "lm-eval:wrong", limit=limit, include_path=tmp_path)
    finally:
        handle.remove()
    assert "(metric_list)" in said(error)
    assert runs == [0]


def test_a_metric_that_cannot_grade_an_answer_is_found_before_the_model_writes(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    text = DEFINITIONS["tiny_sum"][1] + "process_results: !function own.broken\n"
    (tmp_path / "own.py").write_text("def broken(doc, results):\n    return {'exact_match': doc['nothing']}\n")
    define(tmp_path, "wrong", folder.parent / "sum.jsonl", text)
    with pytest.raises(
        TextsError, match=r"lm-eval:wrong: its metrics \(.*\) cannot grade an answer \(KeyError: 'nothing'"
    ):
        load_task("lm-eval:wrong", model, None, tmp_path)


def test_a_tokenizer_without_ends_is_refused(folder: Path) -> None:
    bare = wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")
    with pytest.raises(TextsError, match="the tokenizer of tiny has no token that begins or ends a text"):
        load_task("lm-eval:tiny_sum", bare, None, folder)


# Left as it was


@pytest.mark.parametrize("task", ["tiny_question", "tiny_sum"])
def test_nothing_is_left_behind(folder: Path, capfd: pytest.CaptureFixture[str], task: str) -> None:
    model = model_with_end()
    model.tokenizer.pad_token = None  # lm-eval gives it one
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    tokenizer, weights = repr(model.tokenizer), {name: w.clone() for name, w in model.module.state_dict().items()}
    model.module.train()
    try:
        evaluate(model, f"lm-eval:{task}", "skip:0", limit=3, include_path=folder)
        assert all(part.training for part in model.module.modules())
    finally:
        model.module.eval()
    # Python's own generator is drawn from by what checks types in the tests; the example of `seeded` speaks of it.
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert repr(model.tokenizer) == tokenizer
    assert all(torch.equal(weights[name], weight) for name, weight in model.module.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_importing_layerscope_imports_no_lm_eval() -> None:
    code = "import sys, layerscope.evaluation.load_task, layerscope.evaluation.sweep; print('lm_eval' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
