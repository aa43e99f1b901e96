"""Local tasks for lm-eval, in words of our own, one of each kind that the bridge has to carry; and lm-eval's own run of them.

`write_tasks` writes the definitions and their data into a folder that `--include-path` takes.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from layerscope.evaluation.lm_eval.isolation import silent
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

EXAMPLES = 8

_WORDS = [f"w{number}" for number in range(90)]

SMALL = {"metadata": "{version: 1.0}", "dataset_path": "json", "test_split": "test"}


def words(draw: random.Random, least: int, most: int) -> str:
    return " ".join(draw.choice(_WORDS) for _ in range(draw.randint(least, most)))


def model_with_end(family: str = "llama", *, begins: bool = False) -> Model:
    """A tiny model whose tokenizer has a token that ends a text, as lm-eval needs, and perhaps puts one before each."""
    tokenizer = word_tokenizer()
    tokenizer.eos_token = "w94"
    if begins:
        tokenizer.bos_token = "w93"
        template = TemplateProcessing(single="w93 $A", special_tokens=[("w93", tokenizer.bos_token_id)])
        tokenizer.backend_tokenizer.post_processor = template
    return wrap_module(tiny_module(family), tokenizer, name="tiny", fingerprint=lambda: "f00")


def of_lm_eval(
    model: Model, task: str, folder: Path, schedule: str = "identity", limit: int | None = None, together: int = 3
) -> dict[str, Any]:
    """Everything lm-eval says of the scheduled module, by its own means alone: its results and its samples."""
    with silent(), pytest.MonkeyPatch.context() as patch:
        import lm_eval.evaluator
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        patch.setattr(lm_eval.evaluator, "add_env_info", lambda results: None)  # it lists every package of the machine
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        with scheduled(model, schedule):
            own = HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=together)
            found = lm_eval.evaluator.simple_evaluate(
                model=own, tasks=[task], task_manager=manager, bootstrap_iters=0, limit=limit
            )
    assert found is not None
    return {"results": found["results"][task], "samples": found["samples"][task]}


def _last_word(draw: random.Random) -> dict[str, object]:
    return {"passage": words(draw, 4, 20)}


def _question(draw: random.Random) -> dict[str, object]:
    options = [words(draw, 1, 4) for _ in range(draw.randint(3, 5))]
    return {"question": words(draw, 3, 12), "options": options, "right": draw.randrange(len(options))}


def _blank(draw: random.Random) -> dict[str, object]:
    return {
        "before": words(draw, 2, 6),
        "one": words(draw, 1, 2),
        "two": words(draw, 1, 2),
        "after": words(draw, 2, 5),
    } | {"right": draw.randrange(2)}


def _page(draw: random.Random) -> dict[str, object]:
    return {"page": words(draw, 20, 150)}


def _sum(draw: random.Random) -> dict[str, object]:
    return {"problem": words(draw, 3, 14), "solution": words(draw, 1, 1)}


DATA = {"last_word": _last_word, "question": _question, "blank": _blank, "page": _page, "sum": _sum}

DEFINITIONS = {
    "tiny_last_word": (
        "last_word",
        """
output_type: loglikelihood
doc_to_text: "{{passage.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' ' + passage.split(' ')[-1]}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_question": (
        "question",
        """
output_type: multiple_choice
num_fewshot: 2
fewshot_split: test
doc_to_text: "{{question}} w91"
doc_to_target: right
doc_to_choice: options
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: acc_bytes, aggregation: mean, higher_is_better: true}
  - {metric: acc_mutual_info, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_blank": (
        "blank",
        """
output_type: multiple_choice
doc_to_text: "{{right}}"
doc_to_target: after
doc_to_choice: "{{[before + ' ' + one, before + ' ' + two]}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_several_right": (
        "question",
        """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{[0, right]}}"
doc_to_choice: options
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_own_results": (
        "question",
        """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: right
doc_to_choice: options
process_results: !function own.first_two
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_vote": (
        "sum",
        """
output_type: generate_until
repeats: 2
doc_to_text: problem
doc_to_target: solution
generation_kwargs: {until: ["w92"], max_gen_toks: 4, do_sample: true, temperature: 0.9}
filter_list:
  - {name: vote, filter: [{function: regex, regex_pattern: "(w[0-9])"}, {function: majority_vote}, {function: take_first}]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_long": (
        "page",
        """
output_type: loglikelihood
doc_to_text: "{{page.split(' ')[:-3]|join(' ')}}"
doc_to_target: "{{' ' + page.split(' ')[-3:]|join(' ')}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    ),
    "tiny_page": (
        "page",
        """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: page
metric_list:
  - {metric: word_perplexity}
  - {metric: byte_perplexity}
  - {metric: bits_per_byte}
""",
    ),
    "tiny_sum": (
        "sum",
        """
output_type: generate_until
num_fewshot: 1
fewshot_split: test
doc_to_text: "{{problem}} w91"
doc_to_target: solution
generation_kwargs: {until: [" w3", " w5", "w92 w93"], max_gen_toks: 9, do_sample: false}
filter_list:
  - {name: first, filter: [{function: regex, regex_pattern: "(w[0-9]+)"}, {function: take_first}]}
  - {name: with_six, filter: [{function: regex, regex_pattern: "(w6[0-9]*)"}, {function: take_first}]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
    ),
}

OWN = """
def first_two(document, results):
    return {"acc": float(results[0][0] > results[1][0])}
"""


def write_tasks(folder: Path, examples: int = EXAMPLES) -> Path:
    """Write all definitions and their data; return the folder."""
    definitions = folder / "definitions"
    definitions.mkdir()
    (definitions / "own.py").write_text(OWN)
    for kind, make in DATA.items():
        draw = random.Random(kind)
        lines = [json.dumps(make(draw)) for _ in range(examples)]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    for name, (kind, text) in DEFINITIONS.items():
        define(definitions, name, folder / f"{kind}.jsonl", text)
    return definitions


def define(definitions: Path, name: str, data: Path, text: str) -> None:
    """Write one definition over a data file."""
    head = "".join(f"{key}: {value}\n" for key, value in SMALL.items())
    cache = definitions.parent / "cache"
    kept = f"dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}\n"
    (definitions / f"{name}.yaml").write_text(f"task: {name}\n{head}{kept}{text}")
