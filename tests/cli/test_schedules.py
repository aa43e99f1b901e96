"""evaluate, sweep and generate as a user meets them."""

import json
from pathlib import Path

import pytest
import xarray

from tests.cli.test_commands import run


@pytest.fixture
def model(tiny_folder: Path) -> Path:
    return tiny_folder


def test_evaluate_prints_and_writes_the_same(model: Path, tmp_path: Path) -> None:
    options = ["--task", "builtin:cloze", "--limit", 3, "--schedule", "looped_parallel:0"]
    printed = run("evaluate", model, *options)
    assert "builtin:cloze under looped_parallel:0:loops=3, 3 examples" in printed.stdout
    output = tmp_path / "r.json"
    scores = json.loads(run("evaluate", model, *options, "--json", "--output", output).stdout)
    assert set(scores) == {"model", "task", "schedule", "examples", "metrics", "provenance"}
    assert scores["schedule"] == "looped_parallel:0:loops=3"
    assert set(scores["metrics"]) == {"loss", "perplexity", "accuracy"}
    written = json.loads(output.read_text())
    assert {k: v for k, v in written.items() if k != "provenance"} == {
        k: v for k, v in scores.items() if k != "provenance"
    }
    assert "exists already" in run("evaluate", model, *options, "--output", output, code=2).stderr
    assert json.loads(output.read_text()) == written, "untouched"


def test_choices_have_a_normalised_accuracy(model: Path) -> None:
    scores = json.loads(run("evaluate", model, "--task", "builtin:commonsense", "--limit", 4, "--json").stdout)
    assert set(scores["metrics"]) == {
        "loss",
        "perplexity",
        "byte_perplexity",
        "bits_per_byte",
        "accuracy",
        "accuracy_norm",
    }
    assert scores["schedule"] == "identity"


def test_sweep_and_its_default_place(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))
    arguments = ["sweep", model, "--task", "builtin:cloze", "--limit", 2, "--variants", "skip,swap", "--bootstrap", 10]
    done = run(*arguments)
    assert "builtin:cloze: 2 examples, 6 runs; full model loss" in done.stdout
    path = Path(done.stdout.splitlines()[-1])
    assert path.name.endswith("--cloze-sweep.nc")
    assert path.parent == tmp_path / "cache"
    with xarray.open_dataset(path, engine="h5netcdf") as sweep:
        assert sweep.schedule.values.tolist() == ["identity", "skip:0", "skip:1", "swap:0", "swap:1", "swap:2"]
    assert "exists already" in run(*arguments, code=2).stderr
    assert run(*arguments, "--resume").stdout == f"{path}: complete already, nothing to do\n"
    assert "stored with runs" in run(*arguments, "--resume", "--schedule", "0-3 0-3", code=1).stderr


def test_generate_goes_on_with_the_prompt(model: Path) -> None:
    text = run("generate", model, "--schedule", "0 (1|2) 3", "--max-new-tokens", 4, "w1 w2").stdout
    assert text.startswith("w1 w2")
    assert run("generate", model, "--schedule", "0 (1|2) 3", "--max-new-tokens", 4, "w1 w2").stdout == text
    assert run("generate", model, "--schedule", "0 (1|2) 3", "--stacked", "--max-new-tokens", 4, "w1 w2").stdout == text
    drawn = [
        run("generate", model, "--temperature", 5, "--seed", seed, "--max-new-tokens", 12, "w1").stdout
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["evaluate", "{model}", "--task", "builtin:cloz"], 2, "did you mean 'builtin:cloze'"),
        (["evaluate", "{model}", "--task", "cloze"], 2, "builtin:"),
        (["evaluate", "{model}", "--task", "builtin:cloze", "--schedule", "skip:x"], 2, "column 6"),
        (["evaluate", "{model}", "--task", "builtin:cloze", "--schedule", "skip:2"], 1, "start is 0 to 1"),
        (["evaluate", "{model}", "--task", "builtin:cloze", "--schedule", "0-4"], 1, "names block 4"),
        (["evaluate", "{model}", "--task", "builtin:cloze", "--limit", "0"], 2, "1 or more"),
        (["evaluate", "nowhere/", "--task", "builtin:cloze"], 1, "nowhere"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--variants", "skp"], 2, "did you mean 'skip'"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--starts", "7"], 1, "start is 0 to 1"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--loops", "x"], 2, "give numbers and ranges"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--chance", "x"], 2, "give TASK=SCORE"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--seeds", "0"], 2, "1 or more"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--batch-tokens", "0"], 2, "1 or more"),
        (["sweep", "{model}", "--task", "builtin:cloze", "--bootstrap", "-1"], 2, "0 or more"),
        (["sweep", "{model}"], 2, "--task"),
        (["generate", "{model}", ""], 2, "the prompt is empty"),
        (["generate", "{model}", "w1", "--max-new-tokens", "0"], 2, "1 or more"),
        (["generate", "{model}", "w1", "--max-new-tokens", "64"], 2, "exceed the context of 64"),
    ],
)
def test_bad_input(arguments: list[str], code: int, said: str, model: Path, tmp_path: Path) -> None:
    if arguments[0] == "sweep":
        arguments = [*arguments, "--output", str(tmp_path / "s.nc")]
    done = run(*(argument.format(model=model) for argument in arguments), code=code)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    assert not list(tmp_path.glob("s.nc*")), "something was left behind"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--schedule", "0-1 x 2"],
            2,
            "layerscope: schedule '0-1 x 2', column 5: expected a block, a range or '(', found 'x'.\n"
            "Write blocks (13), ranges (0-12 or 17-13), parallel blocks ((9|10|11)), each repeated with *K.\n",
        ),
        (["--schedule", "0-9"], 1, "layerscope: the schedule names block 9: a model of 4 blocks has 0 to 3\n"),
        (
            ["--schedule", "skip:9"],
            1,
            "layerscope: start 9 leaves no block affected in a model of 4 blocks: start is 0 to 1\n",
        ),
        (
            ["--task", "cloze"],
            2,
            "layerscope: task 'cloze': write a task as builtin:NAME or lm-eval:NAME. Did you mean 'builtin:cloze'?\n",
        ),
        (
            ["--task", "lm-eval:lambada_opnai"],
            2,
            "layerscope: unknown task 'lm-eval:lambada_opnai': did you mean 'lm-eval:lambada_openai'? `lm-eval ls tasks` "
            "lists them all; --include-path DIR adds your own\n",
        ),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "sweep"])
def test_bad_input_is_said_to_the_letter(
    command: str, options: list[str], code: int, message: str, model: Path, tmp_path: Path
) -> None:
    task = [] if "--task" in options else ["--task", "builtin:cloze"]
    done = run(command, model, *task, *options, "--limit", 2, "--output", tmp_path / "out", code=code)
    assert done.stderr == message
    assert not list(tmp_path.glob("out*")), "something was left behind"


def test_a_sweep_resumed_with_other_settings_loses_nothing(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.nc"
    arguments = ["sweep", model, "--task", "builtin:cloze", "--variants", "skip", "--bootstrap", 0, "--output", output]
    run(*arguments, "--limit", 2)
    before = output.read_bytes()
    said = run(*arguments, "--limit", 3, "--resume", code=1).stderr
    assert said == (
        f"layerscope: {output}: stored with limit 2, got 3. "
        "Resume with the same settings, or start again with --overwrite.\n"
    )
    assert output.read_bytes() == before


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    from tests.families import tiny_module
    from tests.tokenizers import word_tokenizer

    tiny_module("bert").save_pretrained(tmp_path / "bert")
    word_tokenizer().save_pretrained(tmp_path / "bert")
    for command in (["evaluate", "--task", "builtin:cloze"], ["sweep", "--task", "builtin:cloze"]):
        assert "is an encoder" in run(command[0], tmp_path / "bert", *command[1:], code=1).stderr
    assert "is an encoder" in run("generate", tmp_path / "bert", "w1", code=1).stderr
