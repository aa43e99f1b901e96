"""Campaign: run every command with random arguments.

A command may end with exit code 0, 1, 2 or 130 and at most two lines of errors. A traceback, "a fault of layerscope", more lines,
another exit code or a timeout is a fault.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from layerscope.cli import app
from tests.campaigns import processes
from tests.campaigns.report import Trial, run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

RIGHT = processes.RIGHT
SETUP = """
capture model --texts some.txt --output run.h5 --spans
capture model --texts some.txt --output final.h5 --final-norm --layers 0,2-3 --schedule 0-3
analyze run.h5 --bootstrap 8 --output run.nc
analyze run.h5 run.h5 --measures cka,procrustes --bootstrap 8 --output between.nc
sweep model --task builtin:cloze --variants skip,middle_repeat,looped_parallel,drop --limit 2 --bootstrap 4 --output sweep.nc
training run.h5 run.h5 --steps 1,2 --output training.nc
"""

WILD = [
    "",
    " ",
    "-1",
    "0",
    "1",
    "2",
    "3.5",
    "nan",
    "inf",
    "-inf",
    "1e30",
    "9" * 30,
    str(2**63),
    str(2**31),
    "0x10",
    "٣",
    "½",
]
WILD += [
    "nonsense",
    "é",
    "日本語",
    "\udcff",
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "--",
    "-",
    "-x",
    "--nonsense",
    "*",
    "'",
    '"',
    "%s",
    "{}",
]
WILD += [
    "/",
    "/dev/null",
    "/dev/full",
    "/no/such/file.nc",
    "~",
    "../..",
    ".",
    "run.h5",
    "run.nc",
    "some.txt",
    "empty",
    "folder.h5",
]
WILD += [
    "x" * 5000,
    "identity",
    "skip:1",
    "skip:99",
    "(0|1)*2",
    "0-999999999",
    "((",
    "all",
    "auto",
    "none",
    "cosine",
    "True",
    "[]",
]

MODELS = ["model", "model", "model", "nobody/none", "nobody/none@x", "encoder", "folder.h5", "missing.gguf", "some.txt"]
FILES = ["run.h5", "run.nc", "sweep.nc", "between.nc", "training.nc", "final.h5", "cut.h5", "cut.nc", "empty"]
SCHEDULES = [
    "identity",
    "skip:1",
    "0-1 3",
    "(0|1)*2 3",
    "reverse:0",
    "drop:2",
    "repeat:1-2:times=2",
    "random:0:seed=3",
    "skip:50",
]
MEASURES = ["cosine", "cka", "cosine,norm", "cosine_centered,cka_biased", "two_nn", "all", "cosin", "procrustes"]
VALUES: dict[str, list[str]] = {
    "model": MODELS,
    "texts": ["some.txt", "some.jsonl", "builtin:passages", "builtin:x", "hf:a/b", "empty", "blank.txt"],
    "text_field": ["text", "story"],
    "limit": ["1", "2", "100000"],
    "max_length": ["1", "5", "64", "65"],
    "output": ["out.h5", "out.nc", "out.pdf", "out.png", "out.svg", "out.json", "run.h5", "no/folder/x.nc", "figure"],
    "backend": ["hooks", "nnsight", "transformer-lens"],
    "dtype": ["float32", "bfloat16", "float16", "float64"],
    "store_dtype": ["same", "float32", "bfloat16", "float16"],
    "schedule": SCHEDULES,
    "layers": ["0", "0,2-3", "4", "0-4", "5", "3-1", ","],
    "tokens": ["all", "last", "sample:2", "sample:0"],
    "batch_tokens": ["1", "64", "4096"],
    "seed": ["0", "1", "12345678901"],
    "device": ["cpu", "cuda", "mps", "cuda:99", "meta"],
    "capture": ["run.h5", "final.h5", "cut.h5", "model"],
    "captures": ["run.h5", "final.h5"],
    "other": ["run.h5", "final.h5"],
    "analyses": ["run.nc", "between.nc"],
    "analysis": ["run.nc", "between.nc", "sweep.nc"],
    "file": FILES,
    "measures": MEASURES,
    "measure": MEASURES,
    "align": ["auto", "tokens", "spans"],
    "exclude_first": ["0", "1", "2", "9"],
    "bootstrap": ["0", "2", "20"],
    "null": ["0", "4"],
    "ceiling": ["0", "2"],
    "memory": ["4GB", "1MB", "1", "0", "0.5 GiB"],
    "segments": ["3", "1", "auto", "99", "none"],
    "steps": ["1,2", "1,1", "5"],
    "task": ["builtin:cloze", "builtin:order", "builtin:arithmetic", "builtin:x", "lm-eval:nonsense"],
    "variants": ["all", "skip", "skip,drop", "repeat", "identity"],
    "starts": ["all", "0", "0,1", "1-0", "7"],
    "seeds": ["1", "2"],
    "loops": ["3", "1-3", "2,1"],
    "chance": ["builtin:cloze=0.1", "builtin:cloze=2", "x=0", "0.5"],
    "latency_tokens": ["1", "8"],
    "include_path": ["empty_folder", "no_folder"],
    "max_new_tokens": ["1", "3"],
    "temperature": ["0", "1", "0.5"],
    "prompt": ["w1 w2", "w3", ""],
    "kind": [
        "heatmap",
        "panel",
        "profile",
        "match",
        "training",
        "scaling",
        "sweep",
        "tasks",
        "single",
        "loops",
        "drift",
        "stages",
    ],
    "quantity": ["loss", "accuracy", "normalized", "perplexity"],
    "variant": ["skip", "drop"],
    "drift": ["drift_cosine", "drift_norm", "drift_cka"],
    "width": ["single", "double"],
    "what": ["models", "measures", "variants", "tasks"],
}
SLOW = {
    "sweep": {"variants": "skip", "limit": "1", "bootstrap": "2"},
    "evaluate": {"limit": "2"},
    "demo": {"model": "model"},
}
"""Options added to these commands unless drawn: without them the commands are slow, or download a model."""


def prepare() -> None:
    """Write a tiny model, texts, and intact and damaged results of each kind into the current folder."""
    for name, family in {"model": "llama", "encoder": "bert"}.items():
        tiny_module(family).save_pretrained(name)
        word_tokenizer().save_pretrained(name)
    Path("some.txt").write_text("\n".join(f"w{n} w{n + 1} w{2 * n} w5 w7 w{n + 3}" for n in range(12)))
    Path("some.jsonl").write_text('{"story": "w1 w2"}\n{"story": "w3"}\n')
    Path("blank.txt").write_text("\n \n")
    Path("empty").touch()
    for name in ("folder.h5", "empty_folder"):
        Path(name).mkdir()
    for line in SETUP.strip().split("\n"):
        processes.warm(*line.split())
    for name in ("run.h5", "run.nc"):
        Path(f"cut{name[3:]}").write_bytes(Path(name).read_bytes()[:3000])


def vectors(count: int, seed: int) -> Iterator[list[str]]:
    """Draw argument vectors."""
    draw = random.Random(seed)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for _ in range(count):
        name = draw.choice([*commands, "", "nonsense"] if draw.random() < 0.05 else [*commands])
        vector = list(_arguments(draw, commands[name])) if name in commands else [draw.choice(WILD)]
        given = " ".join(vector)
        for option, value in SLOW.get(name, {}).items():
            if f"--{option}" not in given:
                vector += [f"--{option}", value]
        if draw.random() < 0.05:
            vector.insert(draw.randrange(len(vector) + 1), draw.choice(WILD))
        yield [name, *vector]


def _arguments(draw: random.Random, command: Any) -> Iterator[str]:
    parameters = [parameter for parameter in command.params if parameter.name != "help"]
    options = [one for one in parameters if one.param_type_name == "option"]
    for one in parameters:
        if one.param_type_name == "argument" and (one.required or draw.random() < 0.2) and draw.random() < 0.97:
            for _ in range(draw.randint(1, 3) if one.nargs == -1 else 1):
                yield _value(draw, one.name)
    chosen = draw.sample(options, min(len(options), draw.choice([0, 1, 1, 2, 2, 3, 5])))
    chosen += [one for one in options if one.required and one not in chosen and draw.random() < 0.95]
    for one in chosen:
        for _ in range(2 if draw.random() < 0.1 else 1):  # an option given twice
            yield draw.choice(one.opts)
            if not one.is_flag and draw.random() < 0.97:
                yield _value(draw, one.name)


def _value(draw: random.Random, name: str) -> str:
    known = VALUES.get(name, [])
    return draw.choice(known if known and draw.random() < 0.6 else WILD)


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Run argument vectors; restore the files that each of them overwrote."""
    prepare()
    kept = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    for vector in vectors(count, seed):
        ending = processes.run(*vector)
        yield Trial(_subject(vector), ending.name, f"{[word[:60] for word in vector]}: {ending.said[-400:]}")
        for path, content in kept.items():
            if not path.is_file() or path.stat().st_size != len(content):
                path.write_bytes(content)


def _subject(vector: list[str]) -> str:
    return vector[0] if vector[0] in typer.main.get_command(app).commands else "none"  # type: ignore[attr-defined]


if __name__ == "__main__":
    run("argument vectors", RIGHT, trials, 3000)
