"""Tasks of lm-eval through the bridge, against lm-eval's own model run on the same module under the same schedule."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from layerscope.errors import CaptureError
from layerscope.evaluation.evaluate import evaluate
from layerscope.evaluation.example_scores import score_examples
from layerscope.evaluation.lm_eval.model import LmEvalModel
from layerscope.evaluation.load_task import load_task
from layerscope.evaluation.sweep import sweep
from layerscope.evaluation.task_scoring import score_task
from layerscope.models.model import Model
from layerscope.schedules.spec import parse_schedule
from tests.evaluation.lm_eval_tasks import DEFINITIONS, EXAMPLES, define, model_with_end, of_lm_eval, write_tasks
from tests.families import DEPTH
from tests.length_models import scaled_model

SPECS = ["identity", "looped_parallel:0:loops=2"]
TASKS = [task for task in DEFINITIONS if task not in ("tiny_long", "tiny_vote")]
REAL = {
    "real_last": """
output_type: loglikelihood
doc_to_text: start
doc_to_target: end
metric_list: [{metric: perplexity}, {metric: acc}]
""",
    "real_choice": """
output_type: multiple_choice
doc_to_text: start
doc_to_target: 0
doc_to_choice: options
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "real_written": """
output_type: generate_until
doc_to_text: start
doc_to_target: end
metric_list: [{metric: exact_match}]
generation_kwargs: {until: ["."], max_gen_toks: 6}
""",
}
PLAIN = ["tiny_last_word", "tiny_question", "tiny_blank"]


@pytest.fixture(scope="module")
def model() -> Model:
    return model_with_end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def agree(found: dict[str, float], results: dict[str, Any]) -> None:
    expected = {key: value for key, value in results.items() if "," in key and "stderr" not in key}
    assert expected
    for key, value in expected.items():
        assert found[key.removesuffix(",none")] == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize("schedule", SPECS)
@pytest.mark.parametrize("task", TASKS)
def test_equals_lm_eval(model: Model, folder: Path, task: str, schedule: str) -> None:
    found = evaluate(model, f"lm-eval:{task}", schedule, include_path=folder)
    agree(found["metrics"], of_lm_eval(model, task, folder, schedule)["results"])
    assert found["task"] == f"lm-eval:{task}"
    assert found["examples"] == EXAMPLES


@pytest.mark.parametrize("task", ["tiny_question", "tiny_page", "tiny_sum"])
@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "bloom"])
def test_equals_lm_eval_in_other_families(folder: Path, family: str, task: str) -> None:
    model = model_with_end(family)
    found = evaluate(model, f"lm-eval:{task}", "reverse:0", limit=5, include_path=folder)
    agree(found["metrics"], of_lm_eval(model, task, folder, "reverse:0", limit=5)["results"])


@pytest.mark.parametrize("task", TASKS)
def test_equals_lm_eval_where_the_tokenizer_begins_each_text(folder: Path, task: str) -> None:
    model = model_with_end(begins=True)
    found = evaluate(model, f"lm-eval:{task}", "skip:0", limit=4, include_path=folder)
    agree(found["metrics"], of_lm_eval(model, task, folder, "skip:0", limit=4)["results"])


def test_contexts_too_long_lose_their_beginning_as_in_lm_eval(model: Model, folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"lm-eval:tiny_long: \d+ contexts truncated on the left to fit 64 tokens"):
        found = evaluate(model, "lm-eval:tiny_long", include_path=folder)
    agree(found["metrics"], of_lm_eval(model, "tiny_long", folder)["results"])


@pytest.mark.parametrize("task", PLAIN)
def test_examples_are_judged_as_lm_eval_judges_them(model: Model, folder: Path, task: str) -> None:
    _, schedule = parse_schedule("skip:0", DEPTH)
    exam = load_task(f"lm-eval:{task}", model, None, folder)
    judgement = score_examples(exam, score_task(model, exam, [schedule])[0])
    samples = of_lm_eval(model, task, folder, "skip:0")["samples"]
    assert not exam.graded
    assert [question.id for question in exam.items] == [str(sample["doc_id"]) for sample in samples]
    assert judgement.accuracy.tolist() == [sample["acc"] for sample in samples]
    if task == "tiny_question":
        assert judgement.accuracy_norm.tolist() == [sample["acc_bytes"] for sample in samples]
    for number, sample in enumerate(samples):
        gold = sample["doc"]["right"] if task != "tiny_last_word" else 0
        assert judgement.nats[number] == pytest.approx(-sample["resps"][gold][0][0], rel=1e-5)
    assert np.allclose(judgement.loss, judgement.nats / exam.target_tokens)


@pytest.mark.parametrize("task", ["tiny_several_right", "tiny_own_results"])
def test_where_one_choice_is_not_all_lm_eval_says_what_is_right(model: Model, folder: Path, task: str) -> None:
    exam = load_task(f"lm-eval:{task}", model, None, folder)
    judgement = score_examples(exam, score_task(model, exam, [parse_schedule("identity", DEPTH)[1]])[0])
    samples = of_lm_eval(model, task, folder)["samples"]
    assert exam.graded
    assert judgement.accuracy.tolist() == [sample["acc"] for sample in samples]
    assert 0 < judgement.accuracy.mean() < 1
    assert np.isfinite(judgement.loss).all()


def test_right_answers_are_where_the_task_puts_them(model: Model, folder: Path) -> None:
    def targets(task: str) -> list[list[str]]:
        exam = load_task(f"lm-eval:{task}", model, 4, folder)
        right = [exam.right(question) for question in exam.items]
        return [
            [model.tokenizer.decode(exam.prompts[prompt].continuations[number]) for prompt, number in places]
            for places in right
        ]

    def documents(task: str) -> list[dict[str, Any]]:
        return [sample["doc"] for sample in of_lm_eval(model, task, folder, limit=4)["samples"]]

    assert targets("tiny_last_word") == [[d["passage"].split()[-1]] for d in documents("tiny_last_word")]
    assert targets("tiny_question") == [[d["options"][d["right"]]] for d in documents("tiny_question")]
    assert targets("tiny_blank") == [[d["after"]] for d in documents("tiny_blank")]
    assert targets("tiny_several_right") == [[d["options"][0]] for d in documents("tiny_several_right")]
    assert [" ".join(windows) for windows in targets("tiny_page")] == [d["page"] for d in documents("tiny_page")]


def test_choices_of_one_context_share_its_prompt(model: Model, folder: Path) -> None:
    exam = load_task("lm-eval:tiny_question", model, None, folder)
    contexts = [prompt.context for prompt in exam.prompts]
    for question in exam.items:
        (prompt,) = {prompt for prompt, _ in question.choices}
        assert len(exam.prompts[prompt].continuations) == len(question.choices) == len(question.byte_lengths)
    # Beside it stand the same choices without their context, for the mutual information.
    assert len(exam.prompts) == 2 * len(exam.items)
    assert contexts[1::2] == [(model.tokenizer.eos_token_id,)] * len(exam.items)
    assert exam.chance == pytest.approx(np.mean([1 / len(question.choices) for question in exam.items]))


def test_choices_of_different_contexts_are_one_question(model: Model, folder: Path) -> None:
    exam = load_task("lm-eval:tiny_blank", model, None, folder)
    assert [len({prompt for prompt, _ in question.choices}) for question in exam.items] == [2] * EXAMPLES
    assert exam.kind == "choice"
    assert exam.chance == 0.5


def test_a_digest_names_what_is_asked(model: Model, folder: Path, tmp_path: Path) -> None:
    digests = [load_task(f"lm-eval:{task}", model, None, folder).digest for task in TASKS]
    assert len(set(digests)) == len(digests)
    assert digests == [load_task(f"lm-eval:{task}", model, None, folder).digest for task in TASKS]
    _, text = DEFINITIONS["tiny_sum"]
    define(tmp_path, "tiny_sum", folder.parent / "sum.jsonl", text.replace("max_gen_toks: 9", "max_gen_toks: 8"))
    assert load_task("lm-eval:tiny_sum", model, None, tmp_path).digest not in digests


@pytest.mark.real
def test_equals_lm_eval_on_a_real_model(smollm2: Model, tmp_path: Path) -> None:
    lines = [
        ("The kettle began to sing, so she took it off the", "stove"),
        ("He put the letter into an envelope and stuck on a", "stamp"),
        ("After the rain a bright bow of colours stood in the", "sky"),
    ]
    documents = [{"start": start, "end": f" {end}", "options": [end, "seven green horses"]} for start, end in lines]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, documents)))
    for name, text in REAL.items():
        define(tmp_path, name, tmp_path / "lines.jsonl", text)
        for schedule in ("identity", "skip:12"):
            found = evaluate(smollm2, f"lm-eval:{name}", schedule, include_path=tmp_path)["metrics"]
            agree(found, of_lm_eval(smollm2, name, tmp_path, schedule)["results"])


@pytest.mark.parametrize(
    "task", ["lm-eval:tiny_last_word", "lm-eval:tiny_question", "lm-eval:tiny_sum", "builtin:cloze"]
)
def test_an_end_that_the_tokenizer_appends_changes_nothing(folder: Path, task: str) -> None:
    """A context is to be continued: after an end token the model would begin another text."""
    options = {"limit": 4, "include_path": folder if task.startswith("lm-eval") else None}
    wanted = evaluate(model_with_end(), task, **options)["metrics"]
    model = model_with_end()
    template = TemplateProcessing(single="$A w94", special_tokens=[("w94", model.tokenizer.eos_token_id)])
    model.tokenizer.backend_tokenizer.post_processor = template
    model.tokenizer.bos_token = "w94"  # as where one token stands for both
    assert evaluate(model, task, **options)["metrics"] == pytest.approx(wanted)


def test_perplexities_of_whole_texts_are_a_token_and_a_byte(model: Model, folder: Path) -> None:
    exam = load_task("lm-eval:tiny_page", model, None, folder)
    nats = score_examples(exam, score_task(model, exam, [parse_schedule("identity", DEPTH)[1]])[0]).nats
    found = evaluate(model, "lm-eval:tiny_page", include_path=folder)["metrics"]
    assert found["perplexity"] == pytest.approx(np.exp(nats.sum() / exam.target_tokens.sum()))
    assert found["perplexity"] < 1e6
    pages = [json.loads(line)["page"] for line in (folder.parent / "page.jsonl").read_text().splitlines()]
    assert exam.target_bytes.tolist() == [len(page.encode()) for page in pages]
    assert found["byte_perplexity"] == pytest.approx(np.exp(nats.sum() / exam.target_bytes.sum()))
    swept = sweep(model, "lm-eval:tiny_page", variants="skip", bootstrap=0, include_path=folder).isel(task=0, run=0)
    for name in ("perplexity", "byte_perplexity", "bits_per_byte"):
        assert float(swept[name]) == pytest.approx(found[name], rel=1e-6), name


def test_defaults_of_a_checkpoint_change_no_answer(folder: Path) -> None:
    model = model_with_end()
    wanted = evaluate(model, "lm-eval:tiny_sum", include_path=folder)["metrics"]
    texts = written(model, folder)
    model.module.generation_config.repetition_penalty = 9.0
    model.module.generation_config.no_repeat_ngram_size = 1
    model.module.generation_config.num_beams = 2
    model.module.config.output_hidden_states = True
    assert written(model, folder) == texts
    assert evaluate(model, "lm-eval:tiny_sum", include_path=folder)["metrics"] == wanted


def written(model: Model, folder: Path) -> list[str]:
    exam: Any = load_task("lm-eval:tiny_sum", model, None, folder)
    return exam.adapter.generate_answers(exam.source.requests, lambda answers: None)


def test_answers_that_are_no_numbers_are_refused(folder: Path) -> None:
    model = model_with_end()
    model.blocks[2].mlp.down_proj.weight.data.fill_(np.inf)
    with pytest.raises(CaptureError, match=r"lm-eval:tiny_sum example \d.* is not finite under the schedule 0-3"):
        evaluate(model, "lm-eval:tiny_sum", include_path=folder)


def test_answers_do_not_depend_on_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scaled_model("longrope", monkeypatch)
    made.tokenizer.eos_token = "w94"
    exam: Any = load_task("lm-eval:tiny_sum", made, None, folder)
    one, other = (
        LmEvalModel(made, exam.name, together).generate_answers(exam.source.requests, lambda answers: None)
        for together in (1, 16)
    )
    assert one == other
    assert len(set(one)) > 1
