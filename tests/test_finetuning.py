"""The scripts that fine-tune under a schedule, on tiny models and toy tasks."""

import gzip
import importlib
import itertools
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import layerscope as ls
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

ANALYSES = Path(__file__).parent.parent / "analyses"
NAMES = ("entailment", "not_entailment")


def words(draw: random.Random, first: str) -> str:
    return " ".join([first, *(f"w{draw.randrange(10, 90)}" for _ in range(3))])


def write(folder: Path, count: int = 48) -> Path:
    """Toy tasks in the layouts of GLUE and ARC: what is right hangs on the first word."""
    for task in ("cola", "mrpc", "rte", "sst2", "stsb"):
        (folder / "glue" / task).mkdir(parents=True)
    for split, seed in (("train", 0), ("dev", 1)):
        draw = random.Random(seed)
        kinds = [draw.randrange(2) for _ in range(count)]
        pairs = [(words(draw, f"w{5 + kind}"), words(draw, "w7")) for kind in kinds]
        both = list(zip(kinds, pairs, strict=True))
        texts = {
            "rte/SPLIT.tsv": [
                "index\tsentence1\tsentence2\tlabel",
                *(f"0\t{a}\t{b}\t{NAMES[k]}" for k, (a, b) in both),
            ],
            "stsb/SPLIT.tsv": ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{4.5 * k}" for k, (a, b) in both)],
            "cola/SPLIT.tsv": [f"s\t{k}\t*\t{a}" for k, (a, _) in both],
            "sst2/SPLIT.tsv.gz": ["label\ttext_a", *(f"{k}\t{a}" for k, (a, _) in both)],
            "mrpc/SPLIT.jsonl": [json.dumps({"sentence1": a, "sentence2": b, "label": k}) for k, (a, b) in both],
        }
        for name, lines in texts.items():
            stem = "validation" if (split, name[:4]) == ("dev", "mrpc") else split
            content = ("\n".join(lines) + "\n").encode()
            path = folder / "glue" / name.replace("SPLIT", stem)
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    (folder / "arc_challenge").mkdir()
    draw = random.Random(2)
    questions = [
        {
            "question": {
                "stem": words(draw, f"w{5 + kind}"),
                "choices": [{"text": f"w{1 + k} w{3 + k}", "label": str(1 + k)} for k in range(2)],
            },
            "answerKey": str(1 + kind),
        }
        for kind in (draw.randrange(2) for _ in range(count))
    ]
    (folder / "arc_challenge" / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny encoder, the same with its first block alone, and a tiny decoder, with toy tasks."""
    place = write(tmp_path_factory.mktemp("tuning"))
    torch.manual_seed(0)
    whole, first = tiny_module("bert"), tiny_module("bert", num_hidden_layers=1)
    first.load_state_dict({name: whole.state_dict()[name] for name in first.state_dict()})
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "w94"})
    for name, module in (("bert", whole), ("first", first), ("llama", tiny_module("llama"))):
        module.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    return place


@pytest.fixture
def scripts(place, monkeypatch):
    """What imports a script, its neighbours in reach, in a folder with all models and data."""
    monkeypatch.syspath_prepend(ANALYSES)
    monkeypatch.setenv("LAYERSCOPE_DATA", str(place))
    monkeypatch.chdir(place)
    return importlib.import_module


@pytest.fixture
def glue(scripts, monkeypatch):
    """The script of GLUE, called as from a shell; returns its output file."""
    script = scripts("finetune_glue")

    def call(*arguments, code=None):
        monkeypatch.setattr(sys, "argv", ["finetune_glue.py", *map(str, arguments)])
        if code is None:
            return script.main()
        with pytest.raises(SystemExit) as stop:
            script.ended(script.main)
        assert stop.value.code == code
        return None

    call.script = script
    return call


LEARNING = ("--rate", "3e-3", "--epochs", "6", "--batch", "16")
QUICK = ("--limit", "8", "--epochs", "1", "--batch", "4", "--rate", "1e-3")


def scores(path):
    """Read an output, a dictionary of task and SPEC."""
    done = ls.open_sweep(path)
    cells = itertools.product(done.task.values, done.schedule.values)
    return dict(zip(cells, done.score.values.ravel(), strict=True))


def test_learns_under_the_schedule(glue, tmp_path):
    tasks = "cola,mrpc,rte,sst2,stsb"
    glue("bert", "--tasks", tasks, "--schedule", "skip:0", *LEARNING, "--output", tmp_path / "learned.nc")
    found = scores(tmp_path / "learned.nc")
    assert len(found) == 10
    assert min(found.values()) > 0.8, found


def test_skipping_is_training_without_those_blocks(glue, tmp_path):
    """Blocks 1 to 3 skipped from the first step on: to the bit the model that has none, dropout included."""
    for model, schedule in (("bert", "skip:0"), ("first", "identity")):
        glue(model, "--tasks", "stsb,rte", "--schedule", schedule, *QUICK, "--output", tmp_path / f"{model}.nc")
    skipped, removed = scores(tmp_path / "bert.nc"), scores(tmp_path / "first.nc")
    for task in ("stsb", "rte"):
        assert skipped[task, "skip:0"] == removed[task, "identity"]
    assert skipped["stsb", "skip:0"] != skipped["stsb", "identity"]


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_trains_the_classifier_alone(glue, tmp_path, monkeypatch, frozen):
    made, before = [], []
    load = glue.script.classifier

    def remembering(*arguments):
        made.append(load(*arguments))
        before.append({name: weight.clone() for name, weight in made[-1].module.state_dict().items()})
        return made[-1]

    monkeypatch.setattr(glue.script, "classifier", remembering)
    options = [*QUICK[:-2], *(["--frozen"] if frozen else [])]
    glue("bert", "--tasks", "rte", "--schedule", "identity", *options, "--output", tmp_path / "f.nc")
    assert not made[0].module.training
    changed = {name for name, weight in made[0].module.state_dict().items() if not weight.equal(before[0][name])}
    trunk = {name for name in changed if name.startswith("bert.")}
    assert changed - trunk == {"classifier.weight", "classifier.bias"}
    assert bool(trunk) is not frozen
    assert ("bert.pooler.dense.weight" in changed) is not frozen
    assert json.loads(ls.open_sweep(tmp_path / "f.nc").attrs["settings"])["rate"] == (3e-2 if frozen else 2e-5)


def test_goes_on_where_it_stood_and_makes_nothing_twice(glue, tmp_path, monkeypatch):
    asked = ["bert", "--tasks", "stsb,cola", "--variants", "skip,reverse", *QUICK, "--output"]
    glue(*asked, tmp_path / "whole.nc")
    whole = scores(tmp_path / "whole.nc")
    assert len(whole) == 2 * (1 + 2 * 2)
    assert len({whole[cell] for cell in whole if cell[0] == "stsb"}) > 3
    tune, made = glue.script.fine_tuned, []

    def interrupted(chosen, name, learned, asked, run):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((name, str(run)))
        return tune(chosen, name, learned, asked, run)

    monkeypatch.setattr(glue.script, "fine_tuned", interrupted)
    with pytest.raises(KeyboardInterrupt):
        glue(*asked, tmp_path / "part.nc")
    assert not (tmp_path / "part.nc").exists(), "what is there is whole"
    monkeypatch.setattr(glue.script, "fine_tuned", lambda *a: made.append((a[1], str(a[-1]))) or tune(*a))
    glue(*asked, tmp_path / "part.nc")
    assert len(made) == len(set(made)) == len(whole)
    assert scores(tmp_path / "part.nc") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"whole.nc", "part.nc"}
    glue(*asked, tmp_path / "part.nc")
    assert len(made) == len(whole)
    glue("bert", "--tasks", "stsb", "--schedule", "0-1 3", *QUICK, "--output", tmp_path / "part.nc")
    assert made[len(whole) :] == [("stsb", "0-1 3")]
    added = scores(tmp_path / "part.nc")
    assert {cell: added[cell] for cell in whole} == whole
    assert np.isnan(added["cola", "0-1 3"])


def test_the_mean_over_tasks_is_printed_and_drawn(glue, tmp_path, capsys):
    glue("bert", "--tasks", "rte,cola,stsb", "--variants", "skip", *QUICK, "--output", tmp_path / "g.nc")
    done = ls.open_sweep(tmp_path / "g.nc")
    said = capsys.readouterr().out
    for spec, mean in zip(done.schedule.values, done.score.mean("task").values, strict=True):
        assert f"mean of rte, cola, stsb under {spec}: {mean:.4f}\n" in said
    axes = ls.figures.sweep(done, "score").axes[0]
    assert axes.get_ylabel() == "score (each task's own), mean of 3 tasks"
    assert len(ls.figures.tasks(done, "score").axes) == 1


WRONG = [
    (["--tasks", "qnli"], 1, "glue/qnli/train (.tsv, .tsv.gz, .jsonl, .jsonl.gz): put it there"),
    (["--tasks", "qqp"], 2, "unknown task of GLUE 'qqp'"),
    (["--schedule", "skip:2"], 1, "start 2 leaves no block affected"),
    (["--schedule", "skip:"], 2, "the start N is missing"),
    (["--limit", "0"], 2, "limit 0: must be 1 or more"),
    (["--rate", "-1"], 2, "rate -1.0: must be above 0"),
    (["--output", "nowhere/g.nc"], 2, "there is no folder"),
    (["--rate", "1e30", "--epochs", "3"], 1, "give a lower --rate"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG)
def test_bad_input_is_refused_in_a_line(glue, tmp_path, capsys, arguments, code, said):
    usual = ["--tasks", "rte", "--schedule", "identity", *QUICK, "--output", tmp_path / "g.nc"]
    glue("bert", *usual, *arguments, code=code)
    error = capsys.readouterr().err
    assert error.startswith("finetune_glue: ")
    assert said in error
    assert len(error.splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_a_decoder_and_other_settings_are_refused(glue, tmp_path, capsys):
    usual = ["--tasks", "rte", "--schedule", "identity", *QUICK, "--output", tmp_path / "g.nc"]
    glue("llama", *usual, code=1)
    assert "llama is a decoder" in capsys.readouterr().err
    glue("bert", *usual)
    glue("bert", *usual, "--seed", "1", code=1)
    assert "stored with seed 0, got 1. Use the same settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("index\tsentence1\tlabel\n", "no column 'sentence2'"),
        ("sentence1\tsentence2\tlabel\na\tb\tmaybe\n", "example 1: 'maybe' is not a label"),
        ("sentence1\tsentence2\tlabel\n", "has no examples"),
    ],
)
def test_malformed_files_are_named(glue, tmp_path, monkeypatch, capsys, text, said):
    (tmp_path / "glue" / "rte").mkdir(parents=True)
    (tmp_path / "glue" / "rte" / "train.tsv").write_text(text)
    monkeypatch.setenv("LAYERSCOPE_DATA", str(tmp_path))
    glue("bert", "--tasks", "rte", "--output", tmp_path / "g.nc", code=1)
    error = capsys.readouterr().err
    assert said in error
    assert "rte/train.tsv" in error
    monkeypatch.delenv("LAYERSCOPE_DATA")
    glue("bert", "--tasks", "rte", "--output", tmp_path / "g.nc", code=1)
    assert "set LAYERSCOPE_DATA to a folder with glue/rte" in capsys.readouterr().err


def test_examples_are_read_as_they_stand(scripts, tmp_path, monkeypatch):
    """A quote is a sign, other line ends than the line feed stand inside texts, and an empty text or `NA` is a text."""
    (tmp_path / "glue" / "rte").mkdir(parents=True)
    odd = [('"He said', "NA"), ("a\u2028b", 'x"y" '), ("null", "1.0")]
    lines = ["index\tsentence1\tsentence2\tlabel", *(f"0\t{a}\t{b}\t{NAMES[b == 'NA']}" for a, b in odd)]
    (tmp_path / "glue" / "rte" / "dev.tsv").write_bytes("\r\n".join([*lines, ""]).encode())
    monkeypatch.setenv("LAYERSCOPE_DATA", str(tmp_path))
    read = scripts("glue").read_examples
    assert [one.texts for one in read("rte", "dev")] == [(a, b.strip()) for a, b in odd]
    assert [one.label for one in read("rte", "dev", 2)] == [1, 0]


def test_answers_that_are_all_the_same_have_no_correlation(scripts):
    tasks = scripts("glue").TASKS
    same = np.ones((4, 2)) * [1.0, 2.0]
    gold = np.array([0, 1, 1, 0])
    assert tasks["cola"].metric(gold, same) == tasks["stsb"].metric(gold, same) == 0.0
    assert tasks["mrpc"].metric(gold, same) == pytest.approx(2 / 3)
    assert tasks["rte"].metric(gold, same) == 0.5
    numbers = np.array([[0.1], [0.9], [0.7], [0.2]])
    pearson = np.corrcoef(gold, numbers[:, 0])[0, 1]
    ranks = np.corrcoef([1.5, 3.5, 3.5, 1.5], [1, 4, 3, 2])[0, 1]
    assert tasks["stsb"].metric(gold, numbers) == pytest.approx((pearson + ranks) / 2)


# A decoder on ARC


@pytest.fixture
def arc(scripts, monkeypatch):
    """The script of ARC, called as from a shell."""
    script = scripts("finetune_arc")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["finetune_arc.py", *map(str, arguments)])
        return script.ended(script.main)

    call.script = script
    return call


TRAIN = ("--task", "lm-eval:local_arc_challenge_train")
SKIPPED = "0 2-3"  # block 1 has no part in it


def test_arc_is_learned_under_the_schedule_and_scored_by_the_folder(arc, tmp_path, capsys):
    arc("llama", "--schedule", SKIPPED, "--rate", "3e-3", "--epochs", "4", "--batch", "8", "--save", tmp_path / "tuned")
    assert "48 answers of lm-eval:local_arc_challenge_train, 4 times, under 0 2-3" in capsys.readouterr().out
    before, after = (ls.load_model(path) for path in ("llama", tmp_path / "tuned"))
    still = {
        name for name, weight in after.module.state_dict().items() if weight.equal(before.module.state_dict()[name])
    }
    assert still == {name for name in after.module.state_dict() if ".layers.1." in name}
    options = {"schedule": SKIPPED, "include_path": ANALYSES / "tasks"}
    losses = [ls.evaluate(model, TRAIN[1], **options)["metrics"] for model in (before, after)]
    assert losses[1]["loss"] < losses[0]["loss"] / 2


def test_arc_learns_the_tokens_that_are_scored(arc, place):
    """The loss of training, an answer at a time, is the loss of the evaluation."""
    chosen = arc.script.argparse.Namespace(task=TRAIN[1], limit=6, include_path=ANALYSES / "tasks")
    model = ls.load_model(place / "llama")
    answers, encode = arc.script.right_answers(chosen, model), arc.script.encoder(model)
    with torch.no_grad():
        alone = [model.module(**encode([answer])).loss.item() for answer in answers]
        together = model.module(**encode(answers)).loss.item()  # answers are of the same length: a plain mean
    wanted = ls.evaluate(model, TRAIN[1], limit=6, include_path=ANALYSES / "tasks")["metrics"]["loss"]
    assert np.mean(alone) == pytest.approx(wanted, rel=1e-5)
    assert together == pytest.approx(wanted, rel=1e-5)


def test_arc_at_once_is_the_same_and_nothing_is_trained_twice(arc, tmp_path, capsys):
    few = ["--limit", "12", "--batch", "6", "--rate", "1e-3", "--schedule", "skip:1"]
    arc("llama", *few, "--save", tmp_path / "six")
    arc("llama", *few, "--at-once", "4", "--save", tmp_path / "four")
    before, six, four = (
        ls.load_model(name).module.state_dict() for name in ("llama", tmp_path / "six", tmp_path / "four")
    )
    for name in six:  # up to rounding, which may turn the sign of a step that is next to nothing
        assert (six[name] - four[name]).norm() <= 0.02 * (six[name] - before[name]).norm(), name
    capsys.readouterr()
    arc("llama", *few, "--save", tmp_path / "six")
    assert "already trained" in capsys.readouterr().out
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    for place, said in (("six", "was trained with other settings"), ("notes", "no model that was trained here")):
        with pytest.raises(SystemExit) as stop:
            arc(
                "llama", *few, "--seed", "1", "--save", tmp_path / place, *(["--overwrite"] if place == "notes" else [])
            )
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    with pytest.raises(SystemExit):
        arc("bert", *few, "--save", tmp_path / "encoder")
    assert "bert is an encoder" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"six", "four", "notes"}
