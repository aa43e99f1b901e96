"""Every command of the page on the paper's own models, run on tiny models of the same depths with a few made-up examples."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import matplotlib
import pytest
import typer.main

from layerscope.cli import app
from layerscope.evaluation.sweep_plan import plan_sweep
from tests.cli.test_commands import run
from tests.evaluation.test_local_tasks import arc_here
from tests.families import tiny_module
from tests.tokenizers import PIECES, piece_tokenizer

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "paper-scale.md").read_text()
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

LLAMAS = {"7b": 32, "13b": 40, "70b": 80}
PYTHIAS = {
    "14m": 6,
    "31m": 6,
    "70m": 6,
    "160m": 12,
    "410m": 24,
    "1b": 16,
    "1.4b": 24,
    "2.8b": 32,
    "6.9b": 32,
    "12b": 36,
}
STAND_INS = [("llama", f"meta-llama/Llama-2-{size}-hf", depth) for size, depth in LLAMAS.items()]
STAND_INS += [("gpt_neox", f"EleutherAI/pythia-{size}", depth) for size, depth in PYTHIAS.items()]
STAND_INS += [("mistral", "mistralai/Mistral-7B-v0.1", 32), ("bert", "google-bert/bert-large-uncased", 24)]
DEPTHS = {name: depth for _, name, depth in STAND_INS}
"""As deep as the model of the hub; a folder of the same name, where the command is run, comes before that."""

SWEPT = ["--limit", "1", "--bootstrap", "5", "--seeds", "1", "--device", "cpu"]
SMALLER = {
    "capture": ["--limit", "4", "--device", "cpu"],
    "analyze": ["--bootstrap", "5"],
    "analyze --texts": ["--limit", "4", "--bootstrap", "5", "--device", "cpu"],
    "sweep": SWEPT,
    "sweep --starts": [*SWEPT, "--starts", "13"],
    "sweep --loops": [*SWEPT, "--starts", "15", "--loops", "1-3"],
    "sweep --variants": [*SWEPT, "--starts", "15"],
    "generate": ["--max-new-tokens", "2", "--device", "cpu"],
    "finetune_glue.py": [
        *("--tasks", "stsb", "--limit", "4", "--epochs", "1"),
        *("--seeds", "1", "--starts", "11", "--device", "cpu"),
    ],
    "finetune_arc.py": ["--limit", "2", "--device", "cpu"],
}
"""What a command is given last, to end in a second: of an option that is given twice the last one counts."""

LONG = "by far the longer of the two, so that no model whatever finds it likelier"
PASSAGES = [{"text": f"The lamp of house {n} was lit when she came home late to the lamp"} for n in range(6)]
QUESTIONS = [{"question": "Which?", "choices": {"text": ["b", LONG], "label": ["A", "B"]}, "answerKey": "A"}] * 6
STORY = {"activity_label": "Baking", "ctx_a": "She opens the oven.", "ctx_b": "She", "label": "1"}
GAP = {"sentence": "Ann saw Bea so _ waved.", "option1": "Ann", "option2": "Bea", "answer": "2"}
ENDINGS = [STORY | {"endings": [LONG, "a", LONG, LONG]}] * 6
SUMS = [{"question": f"{n} and 1?", "answer": f"#### {n + 1}"} for n in range(6)]
HUB: dict[tuple[str, str | None], dict[str, list[dict[str, Any]]]] = {
    ("EleutherAI/lambada_openai", "default"): {"test": PASSAGES},
    ("EleutherAI/lambada_openai", None): {"test": PASSAGES},
    ("allenai/ai2_arc", "ARC-Challenge"): {"train": QUESTIONS, "validation": QUESTIONS, "test": QUESTIONS},
    ("Rowan/hellaswag", None): {"train": ENDINGS, "validation": ENDINGS},
    ("allenai/winogrande", "winogrande_xl"): {"train": [GAP] * 6, "validation": [GAP] * 6},
    ("openai/gsm8k", "main"): {"train": SUMS, "test": SUMS},
}
"""Datasets by name and configuration: what the page asks of the hub, and no more."""


def load_dataset(path: str, name: str | None = None, split: str | None = None, **_: object) -> Any:
    splits = {part: datasets.Dataset.from_list(rows) for part, rows in HUB[path, name].items()}
    return datasets.DatasetDict(splits) if split is None else splits[split]


TOLD = r"""
told() { printf '%s\0' "$@"; printf '\n\0'; }
layerscope() { told layerscope "$@"; }
python() { told python "$@"; }
"""


def commands() -> list[list[list[str]] | str]:
    """The page from top to bottom: of each block of the shell its commands, as the shell makes them; of Python its code."""
    script = TOLD + "\n".join(code + "told END" for kind, code in BLOCKS if kind == "bash")
    # Without a path it finds no other program: what is no command of ours ends it.
    done = subprocess.run(["/bin/bash", "-euc", script], env={"PATH": ""}, capture_output=True, text=True, check=True)
    lines = [line.split("\0")[:-1] for line in done.stdout.split("\n\0")[:-1]]
    shells, block = [], []
    for line in lines:
        if line == ["END"]:
            shells.append(block)
            block = []
        else:
            block.append(line)
    left = iter(shells)
    return [next(left) if kind == "bash" else code for kind, code in BLOCKS]


def write_data(folder: Path) -> None:
    """Files of GLUE and ARC, a few lines each, in the layouts that the page names."""
    pairs = [("A red cat.", "A cat.", label) for label in ("entailment", "not_entailment")] * 2
    rows = {
        "cola": [f"s\t{n % 2}\t\tCat {n} sat." for n in range(4)],
        "sst2": ["sentence\tlabel", *(f"so good {n}\t{n % 2}" for n in range(4))],
        "stsb": ["sentence1\tsentence2\tscore", *(f"one {n}\ttwo\t{n}.5" for n in range(4))],
        "wnli": ["sentence1\tsentence2\tlabel", *(f"one {n}\ttwo\t{n % 2}" for n in range(4))],
        "rte": ["sentence1\tsentence2\tlabel", *("\t".join(pair) for pair in pairs)],
        "qnli": ["question\tsentence\tlabel", *("\t".join(pair) for pair in pairs)],
        "mrpc": [json.dumps({"sentence1": f"one {n}", "sentence2": "two", "label": n % 2}) for n in range(4)],
    }
    for task, lines in rows.items():
        place = folder / "glue" / task
        place.mkdir(parents=True)
        names = ("train.jsonl", "validation.jsonl") if task == "mrpc" else ("train.tsv", "dev.tsv")
        for name in names:
            (place / name).write_text("\n".join(lines) + "\n")
    (folder / "arc_challenge").mkdir()
    (folder / "arc_challenge" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in arc_here()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands in for the hub, with the files to train on."""
    place = tmp_path_factory.mktemp("paper")
    tokenizer = piece_tokenizer()
    tokenizer.eos_token = "[PAD]"
    for family, name, depth in STAND_INS:
        module = tiny_module(
            family, vocab_size=PIECES, max_position_embeddings=1024, num_hidden_layers=depth, sliding_window=None
        )
        if family != "bert":  # every token ends a text: what is written has one
            module.generation_config.eos_token_id = list(range(PIECES))
        module.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    write_data(place / "FOLDER")
    return place


def check_and_run(words: list[str], place: Path) -> None:
    """Run one command as it stands on the page, but for the options that make it small."""
    program, name, *arguments = words
    kind = next(
        (f"{name} {option}" for option in ("--texts", "--starts", "--loops", "--variants") if option in arguments), name
    )
    if program == "python":
        script = ROOT / name
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            patch.syspath_prepend(script.parent)
            patch.setattr(sys, "argv", [name, *arguments, *SMALLER[script.name]])
            runpy.run_path(str(script), run_name="__main__")
        return
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    given = command.make_context(name, list(arguments)).params  # the values that are made small are sound as well
    if name == "sweep":
        asked = {option: given[option] for option in ("variants", "schedule", "starts", "seeds", "loops")}
        plan_sweep(DEPTHS.get(given["model"], 32), **asked)
    run(name, *thinned(arguments), *SMALLER.get(kind, SMALLER.get(name, [])), cwd=place)


def thinned(arguments: list[str]) -> list[str]:
    """Leave out all but the first four schedules of many; draw what needs no fonts in it."""
    beyond = [place for place, argument in enumerate(arguments) if argument == "--schedule"][4:]
    kept = [argument for place, argument in enumerate(arguments) if not {place, place - 1} & set(beyond)]
    return [re.sub(r"\.pdf$", ".svg", argument) for argument in kept]


def test_every_command_runs_and_draws_every_figure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setenv("LAYERSCOPE_DATA", "FOLDER")
    monkeypatch.chdir(place)
    for block in commands():
        if isinstance(block, str):
            exec(compile(block, "docs/paper-scale.md", "exec"), {})
        else:
            for words in block:
                check_and_run(words, place)
    drawn = {int(number) for path in place.glob("*.???") for number in re.findall(r"fig(\d+)", path.stem)}
    assert drawn == {2, 3, 4, 10, 11, 12, 13, 14, 15, 17}


def test_every_figure_has_its_section() -> None:
    titles = " ".join(re.findall(r"^## .*\((Fig\. .*)\)$", PAGE, re.MULTILINE))
    ranges = re.findall(r"(\d+)(?: to (\d+))?", titles)
    assert sorted(n for first, last in ranges for n in range(int(first), int(last or first) + 1)) == [*range(2, 18)]
