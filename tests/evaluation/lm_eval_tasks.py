"""Local tasks for lm-eval, in words of our own, one of each kind that the bridge has to carry.

`write_tasks` writes the definitions and their data into a folder that `--include-path` takes.
"""

import json
import random
from pathlib import Path

_WORDS = [f"w{number}" for number in range(90)]

SMALL = {"metadata": "{version: 1.0}", "dataset_path": "json", "test_split": "test"}


def words(draw: random.Random, least: int, most: int) -> str:
    return " ".join(draw.choice(_WORDS) for _ in range(draw.randint(least, most)))


def _last_word(draw: random.Random) -> dict[str, object]:
    return {"passage": words(draw, 4, 20)}


def _question(draw: random.Random) -> dict[str, object]:
    options = [words(draw, 1, 4) for _ in range(draw.randint(3, 5))]
    return {"question": words(draw, 3, 12), "options": options, "right": draw.randrange(len(options))}


def _blank(draw: random.Random) -> dict[str, object]:
    return {"before": words(draw, 2, 6), "one": words(draw, 1, 2), "two": words(draw, 1, 2), "after": words(draw, 2, 5)} | {
        "right": draw.randrange(2)
    }


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


def write_tasks(folder: Path, examples: int = 12) -> Path:
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
