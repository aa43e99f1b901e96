"""The command line as a user meets it: exit codes, one-line errors, what is left behind."""

import json
import shutil
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
import xarray

import layerscope as ls
from layerscope.cli import main
from layerscope.cli.result_warnings import warning_lines
from layerscope.results import read_analysis, write_result
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


PROGRAM = [sys.executable, "-m", "layerscope"]


def run(*arguments, cwd=None, code=0, columns=200):
    """Run ``layerscope`` as the console script does, but in this process: torch loads once for all of them."""
    stdout, stderr = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["layerscope", *map(str, arguments)])
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # which the program replaces
        patch.setenv("COLUMNS", str(columns))
        if cwd:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == code, stdout.getvalue() + stderr.getvalue()
    assert "Traceback" not in stderr.getvalue()
    return Done(stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model, texts, a capture and its analysis."""
    place = tmp_path_factory.mktemp("cli")
    tiny_module("llama").save_pretrained(place / "model")
    word_tokenizer().save_pretrained(place / "model")
    (place / "some.txt").write_text("\n".join(f"w{n} w{n + 1} w{2 * n} w5 w7 w{n + 3}" for n in range(12)))
    (place / "some.jsonl").write_text('{"story": "w1 w2"}\n{"story": "w3"}\n')
    run("capture", "model", "--texts", "some.txt", "--output", "run.h5", cwd=place)
    run("analyze", "run.h5", "--bootstrap", "20", "--output", "run.nc", cwd=place)
    return place


def test_capture_opens_in_xarray_alone(place):
    ds = xarray.open_dataset(place / "run.h5", engine="h5netcdf")
    assert dict(ds.sizes) == {"token": 72, "layer": 5, "feature": 32, "sequence": 12}
    assert ds.attrs["complete"] == 1
    assert json.loads(ds.attrs["provenance"])["command"].endswith("capture model --texts some.txt --output run.h5")


def test_analysis_holds_the_default_measures_with_intervals(place):
    result = xarray.open_dataset(place / "run.nc", engine="h5netcdf")
    for name in ("cosine", "cosine_sequence", "cosine_centered", "cka"):
        assert result[name].dims == ("layer", "layer_other")
        assert (result[f"{name}_low"] <= result[f"{name}_high"]).all()
        assert {"long_name", "range", "estimator", "reference", "tokens", "excluded_first"} <= set(result[name].attrs)
    for name in ("variance", "norm", "max_abs"):
        assert result[name].dims == ("layer",)


def test_chance_and_reliability(place, tmp_path):
    done = run(
        *(
            "analyze",
            "run.h5",
            "--measures",
            "cka,norm",
            "--null",
            "3",
            "--ceiling",
            "2",
            "--output",
            tmp_path / "c.nc",
        ),
        cwd=place,
    )
    assert done.stdout.endswith("c.nc: cka, norm\n")
    with xarray.open_dataset(tmp_path / "c.nc", engine="h5netcdf") as result:
        for ending in ("null", "null_low", "null_high", "ceiling"):
            assert result[f"cka_{ending}"].dims == ("layer", "layer_other")
        assert -1 <= result["cka"].attrs["split_half"] <= 1
        made = json.loads(result.attrs["provenance"])["analysis"]
        assert (made["null"], made["ceiling"]) == (3, 2)
    for kind, said in (("profile", "each layer"), ("heatmap", "ending (")):
        arguments = ["--kind", kind, "--output", tmp_path / "c.svg", "--overwrite"]
        run("plot", tmp_path / "c.nc", *arguments, *(["--measure", "cka"] if kind == "heatmap" else []), cwd=place)
        assert said in (tmp_path / "c.svg").read_text()


def test_what_an_analysis_says_against_its_numbers_is_printed(place, tmp_path):
    some = tmp_path / "some.h5"
    run("capture", "model", "--texts", "some.txt", "--limit", "5", "--output", some, cwd=place)
    done = run("analyze", some, "--measures", "cka,cosine", "--null", "2", "--output", tmp_path / "some.nc", cwd=place)
    said = "cka_null, cosine_null: 5 texts can be paired in few ways: the 95 % interval by chance is too narrow below 8 texts"
    assert done.stderr.splitlines()[-1] == f"warning: {said}"


def test_intervals_that_hold_too_seldom_are_printed_once():
    words = "the 95 % interval held the population value in 80% of simulations with 20 texts"
    low = {"coverage": 0.8, "coverage_texts": 20, "coverage_warning": words}
    variables = {"variance": low, "variance_low": low, "norm": {"coverage": 0.95, "coverage_texts": 20}, "two_nn": low}
    result = xarray.Dataset({name: ("layer", [0.0], attrs) for name, attrs in variables.items()})
    assert warning_lines(result) == [f"variance, two_nn: {words}"]


def test_segment_json(place):
    found = json.loads(run("segment", "run.nc", "--measure", "cosine", "--json", cwd=place).stdout)
    assert list(found) == ["measure", "boundaries", "sizes", "labels", "score", "stability"]
    assert found["labels"] == ["beginning", "middle", "ending"]
    assert sum(found["sizes"]) == 5
    assert len(found["stability"]) == len(found["boundaries"]) == 2


def test_segments_of_a_stream_are_of_blocks(place, tmp_path):
    result = read_analysis(place / "run.nc")
    write_result(
        result.isel(layer=slice(1, None), layer_other=slice(1, None)).assign_attrs(stream="attn"), tmp_path / "attn.nc"
    )
    text = run("segment", "attn.nc", cwd=tmp_path).stdout
    assert "beginning  blocks" in text
    assert "layers" not in text


def test_segment_for_people(place):
    text = run("segment", "run.nc", cwd=place).stdout
    assert "beginning" in text
    assert "agglomerative clustering: sizes" in text


@pytest.mark.parametrize("kind", ["heatmap", "panel", "profile"])
@pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_plot(place, tmp_path, kind, suffix, magic):
    run("plot", "run.nc", "--kind", kind, "--output", tmp_path / f"figure.{suffix}", cwd=place)
    assert (tmp_path / f"figure.{suffix}").read_bytes().startswith(magic)


def test_heatmap_has_the_segments(place, tmp_path):
    for options, drawn in (([], True), (["--segments", "none"], False)):
        run("plot", "run.nc", *options, "--output", tmp_path / "h.svg", "--overwrite", cwd=place)
        assert ("ending (" in (tmp_path / "h.svg").read_text()) is drawn


def test_list_and_info(place):
    assert "gpt_neox" in run("list", "models").stdout
    assert {row["measure"] for row in json.loads(run("list", "measures", "--json").stdout)} >= {
        "cosine",
        "cka",
        "procrustes",
    }
    facts = json.loads(run("info", "run.h5", "--json", cwd=place).stdout)
    assert (facts["complete"], facts["token"], facts["layers"], facts["model"]) == (True, 72, "0-4", "model")
    assert "analysis" in run("info", "run.nc", cwd=place).stdout


def test_resume_of_a_complete_file_does_nothing(place):
    before = (place / "run.h5").read_bytes()
    text = run("capture", "model", "--texts", "some.txt", "--output", "run.h5", "--resume", cwd=place).stdout
    assert "complete already" in text
    assert (place / "run.h5").read_bytes() == before


def test_two_captures(place, tmp_path):
    run("capture", "model", "--texts", "some.txt", "--layers", "0,2", "--output", tmp_path / "two.h5", cwd=place)
    run(
        "analyze",
        "run.h5",
        tmp_path / "two.h5",
        "--measures",
        "cosine,cka,norm",
        "--output",
        tmp_path / "two.nc",
        cwd=place,
    )
    result = xarray.open_dataset(tmp_path / "two.nc", engine="h5netcdf")
    assert result.cosine.shape == (5, 2)
    assert result.norm_other.dims == ("layer_other",)
    run("plot", tmp_path / "two.nc", "--output", tmp_path / "two.png", cwd=place)


_READ = "is read by this very command: give another --output"
WRONG_USE = [
    (["capture", "model"], "--no-such-option"),
    (["analyze", "run.h5", "--bootstrap", "many"], "--bootstrap is 'many', expected a whole number"),
    (["generate", "model", "w1", "--temperature", "hot"], "--temperature is 'hot', expected a number"),
    (["capture", "model", "--texts", "some.txt", "--output", "run.h5"], "exists already"),
    (["capture", "model", "--texts", "some.txt", "--output", "model"], "is a directory"),
    (["capture", "model", "--texts", "some.txt", "--output", "model/config.json", "--overwrite"], _READ),
    (["capture", "model", "--texts", "some.txt", "--output", "nowhere/new.h5"], "there is no folder nowhere"),
    (["capture", "", "--texts", "some.txt", "--output", "new.h5"], "the model has no name: give a hub id"),
    (["capture", "model", "--texts", "builtin:passage", "--output", "new.h5"], "did you mean"),
    (["capture", "model", "--texts", "some.doc", "--output", "new.h5"], "some.doc"),
    (
        ["capture", "model", "--texts", "some.txt", "--tokens", "none", "--output", "new.h5"],
        "choose all, first, last, mean, generated, sample:K",
    ),
    (["capture", "model", "--texts", "some.txt", "--dtype", "int4", "--output", "new.h5"], "unknown dtype"),
    (["capture", "model", "--texts", "some.txt", "--limit", "0", "--output", "new.h5"], "limit"),
    (
        ["analyze", "run.h5", "--measures", "cosin", "--output", "new.nc"],
        "unknown measure 'cosin': did you mean 'cosine'?",
    ),
    (["analyze", "run.h5", "--output", "run.nc"], "exists already"),
    (["analyze", "run.h5", "--exclude-first", "-1", "--output", "new.nc"], "exclude_first -1: must be 0 or more"),
    (["analyze", "run.h5", "--null", "-1", "--output", "new.nc"], "null -1: must be 0 or more"),
    (["analyze", "run.h5", "--memory", "much", "--output", "new.nc"], "--memory"),
    (["capture", "model", "--texts", "some.txt", "--output", "./some.txt", "--overwrite"], _READ),
    (["analyze", "run.h5", "--output", "run.h5", "--overwrite"], _READ),
    (["analyze", "model", "--texts", "some.txt", "--output", "some.txt", "--overwrite"], _READ),
    (["training", "run.h5", "run.h5", "--output", "run.h5", "--overwrite"], _READ),
    (["scaling", "run.nc", "run.nc", "--output", "run.nc", "--overwrite"], _READ),
    (["plot", "run.nc", "--output", "run.nc", "--overwrite"], _READ),
    (["sweep", "model.gguf", "--task", "builtin:cloze", "--output", "model.gguf", "--overwrite"], _READ),
    (["evaluate", "model.gguf", "--task", "builtin:cloze", "--output", "model.gguf", "--overwrite"], _READ),
    (["generate", "model", "--temperature", "nan", "w1"], "temperature nan: must be a number of 0 or more"),
    (
        ["sweep", "model", "--task", "builtin:cloze", "--chance", "builtin:order=0.25", "--output", "new.nc"],
        "chance of builtin:order: this is not a task of the sweep (builtin:cloze)",
    ),
    (["segment", "run.nc", "--measure", "cosin"], "did you mean 'cosine'?"),
    (["segment", "run.nc", "--segments", "few"], "give a number of 1 or more, or auto"),
    (["plot", "run.nc", "--output", "figure.gif"], "figure.gif"),
    (["plot", "run.nc", "--kind", "pie"], "pie"),
    (["list", "everything"], "everything"),
    (["nonsense"], "nonsense"),
]

FAILED = [
    (["plot", "model", "--kind", "heatmap", "--output", "new.pdf"], "model is a directory, no analysis file"),
    (["capture", "no/such/folder/model", "--texts", "some.txt", "--output", "new.h5"], "there is no such folder"),
    (["capture", "none.gguf", "--texts", "some.txt", "--output", "new.h5"], "there is no such file"),
    (["capture", "model", "--texts", "none.txt", "--output", "new.h5"], "none.txt"),
    (["capture", "model", "--texts", "empty.txt", "--output", "new.h5"], "empty.txt"),
    (["capture", "model", "--texts", "latin.txt", "--output", "new.h5"], "latin.txt"),
    (["capture", "model", "--texts", "some.jsonl", "--output", "new.h5"], "story"),
    (["capture", "model", "--texts", "broken.jsonl", "--output", "new.h5"], "line 2"),
    (["capture", "model", "--texts", "some.txt", "--layers", "0-9", "--output", "new.h5"], "there is no state 9"),
    (
        ["capture", "model", "--texts", "some.jsonl", "--text-field", "story", "--output", "run.h5", "--resume"],
        "stored with texts",
    ),
    (["analyze", "none.h5", "--output", "new.nc"], "none.h5"),
    (["analyze", "some.txt", "--output", "new.nc"], "some.txt"),
    (["analyze", "cut.h5", "--output", "new.nc"], "truncated"),
    (["analyze", "run.h5", "--exclude-first", "50", "--output", "new.nc"], "exclude-first"),
    (["segment", "run.h5"], "run.h5"),
    (["segment", "run.nc", "--segments", "9"], "9"),
    (["info", "none.h5"], "none.h5"),
]


@pytest.fixture(scope="module")
def damaged(place, tmp_path_factory):
    damaged = tmp_path_factory.mktemp("damaged") / "place"
    shutil.copytree(place, damaged)
    (damaged / "model.gguf").write_bytes(b"GGUF")
    (damaged / "empty.txt").write_text("\n  \n")
    (damaged / "latin.txt").write_bytes(b"w1 \xe9t\xe9\n")
    (damaged / "broken.jsonl").write_text('{"text": "w1"}\n{"text": \n')
    (damaged / "cut.h5").write_bytes((place / "run.h5").read_bytes()[:-5000])
    return damaged


@pytest.mark.parametrize(
    ("code", "arguments", "said"), [(2, *case) for case in WRONG_USE] + [(1, *case) for case in FAILED]
)
def test_bad_input_gets_two_lines_and_leaves_nothing(damaged, code, arguments, said):
    if said == "--no-such-option":
        arguments = [*arguments, said]
    before = {path: path.stat().st_mtime_ns for path in damaged.rglob("*")}
    done = run(*arguments, cwd=damaged, code=code)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert said in done.stderr
    assert lines[0].startswith("layerscope: ")
    assert len(lines) <= 2
    assert {path: path.stat().st_mtime_ns for path in damaged.rglob("*") if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }


def test_the_version_is_printed_and_a_command_line_with_nothing_on_it_gets_the_help():
    assert run("--version").stdout == f"{ls.__version__}\n"
    empty = run(code=2)
    assert "Usage:" in empty.stdout
    assert empty.stderr == ""


def test_a_full_disk_is_no_fault_of_the_program():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "list", "tasks"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "layerscope: No space left on device: make room where the output goes\n"


@pytest.mark.parametrize("root", ["file", "file/in/it"])
def test_a_cache_that_cannot_be_made_is_named(place, tmp_path, monkeypatch, root):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / root))
    done = run("capture", "model", "--texts", "some.txt", cwd=place, code=2)
    assert f"cache folder {tmp_path / root}: " in done.stderr
    assert "set LAYERSCOPE_CACHE to a folder" in done.stderr
    assert "fault" not in run("demo", cwd=place, code=2).stderr


def test_debug_shows_the_traceback():
    done = subprocess.run([*PROGRAM, "info", "none.h5", "--debug"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_nothing_is_drawn_on_standard_error_when_piped(place, tmp_path):
    done = run("capture", "model", "--texts", "some.txt", "--output", tmp_path / "run.h5", cwd=place)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


LIGHT = """
import sys, time
started = time.perf_counter()
{code}
heavy = "torch transformers nnsight transformer_lens xarray h5py sklearn scipy matplotlib".split()
assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)
"""


@pytest.mark.parametrize("code", ["import layerscope", "import layerscope.cli", "import layerscope; dir(layerscope)"])
def test_nothing_heavy_is_imported_before_it_is_used(code):
    subprocess.run([sys.executable, "-c", LIGHT.format(code=code)], check=True)


WAITING = """
import signal
import time
from layerscope.cli import main
from layerscope.store.index import SequenceIndex

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it as ignored

read = SequenceIndex.token_ids

def token_ids(index, sequence):
    if sequence >= 10:  # of the second batch
        print("running", flush=True)
        time.sleep(600)
    return read(index, sequence)

SequenceIndex.token_ids = token_ids
main()
"""


def test_interrupt_exits_130_and_leaves_an_unfinished_file(place, tmp_path):
    import signal

    from layerscope.store.header import read_header

    (tmp_path / "many.txt").write_text("\n".join(["w1 w2 w3 w4 w5 w6 w7 w8"] * 20))
    output = tmp_path / "run.h5"
    options = ["--texts", tmp_path / "many.txt", "--output", output, "--batch-tokens", "64"]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "capture", place / "model", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said.strip() == "layerscope: interrupted: finished work is kept, continue with --resume"
    assert not read_header(output).complete


def test_an_interrupt_names_resume_only_where_there_is_one(place, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("layerscope.models.loading.read_model", stopped)
    asked = (place / "model", "--task", "builtin:cloze")
    assert run("evaluate", *asked, code=130).stderr == "layerscope: interrupted\n"
    said = run("sweep", *asked, "--variants", "skip", "--output", "s.nc", cwd=place, code=130).stderr
    assert said == "layerscope: interrupted: finished work is kept, continue with --resume\n"


@pytest.mark.real
def test_demo_on_the_real_model(tmp_path):
    text = run("demo", "--limit", "12", "--output", tmp_path / "demo").stdout
    assert "Massive activations:" in text
    assert "beginning" in text
    made = {path.name for path in Path(tmp_path / "demo").iterdir()}
    assert made == {"run.h5", "run.nc"} | {
        f"{kind}.{suffix}" for kind in ("heatmap", "panel", "profile") for suffix in ("pdf", "png")
    }
