"""The bibliography: well formed, complete for the records, and of a file exactly what it used."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import layerscope as ls
from layerscope import citations
from layerscope.citations import entries
from layerscope.errors import FileError
from layerscope.measures.catalogue import MEASURES
from layerscope.results import write_result
from tests.measures.captures import capture, walk
from tests.store.captures import layout, write_capture

BIB = Path(citations.__file__).with_name("citations.bib").read_text()


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def test_entries_are_well_formed_and_told_apart():
    assert len(keys(BIB)) == len(set(keys(BIB))) == len(entries())
    for key, entry in entries().items():
        assert keys(entry) == [key]
        assert entry.count("{") == entry.count("}")
        depth = np.cumsum([(character == "{") - (character == "}") for character in entry])
        assert (depth[entry.index("{") : -1] > 0).all()
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.MULTILINE))
        assert {"title", "author", "year"} <= set(fields), key
        assert entry.count("\n") == len(fields) + 1, key
        assert re.fullmatch(r"\d{4}", fields["year"])
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "0000.0000"))


def test_every_key_of_every_record_has_an_entry():
    named = {key for measure in MEASURES.values() for key in measure.cites}
    named |= {*citations.BACKENDS.values(), *citations.MODELS.values(), *citations.TASKS.values()}
    named |= {citations.LAYERSCOPE, citations.SCHEDULES, citations.BOOTSTRAP, citations.HARNESS}
    assert named <= set(entries())


def test_layerscope_is_cited_as_it_asks_to_be():
    cff = (Path(__file__).parents[1] / "CITATION.cff").read_text()
    title = re.search(r'title: "(.+)"', cff)[1]
    assert title in entries()["layerscope"].replace("{LayerScope}", "LayerScope")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("EleutherAI/pythia-70m@step1000", "biderman2023pythia"),
        ("SmolLM2-135M-Instruct.Q4_1", "allal2025smollm2"),
        ("gemma-3-270m.Q4_K_M", "gemma2025gemma3"),
        ("google/gemma-2-2b", "gemma2024gemma2"),
        ("all-MiniLM-L6-v2", "wang2020minilm"),
        ("meta-llama/Llama-2-7b-hf", "touvron2023llama2"),
        ("openai-community/gpt2-xl", "radford2019gpt2"),
        ("bert-base-uncased", "devlin2019bert"),
    ],
)
def test_models_by_their_names(tmp_path, name, key):
    write_result(
        xr.Dataset(attrs={"layerscope_version": "0", "model": name, "architecture": "any"}), tmp_path / "some.nc"
    )
    assert keys(ls.cite(tmp_path / "some.nc")) == ["layerscope", key]


def test_an_unknown_model_is_named_as_such(tmp_path):
    for name in ("tiny-llama", "google/gemma-2b", "roberta-base", "somebody/llama-20b"):
        write_result(
            xr.Dataset(attrs={"layerscope_version": "0", "model": name, "architecture": "llama"}), tmp_path / "some.nc"
        )
        text = ls.cite(tmp_path / "some.nc")
        assert keys(text) == ["layerscope"]
        assert f"% no citation is known for the model {name} (architecture llama)" in text


def analysis(tmp_path, measures, **options):
    attrs = {"model": "pythia-70m", "backend": "nnsight", "schedule": "skip:1"}
    write_result(
        ls.analyze(capture(walk(40, 3, 4), [10] * 4, attrs=attrs), measures=measures, **options), tmp_path / "run.nc"
    )
    return keys(ls.cite(tmp_path / "run.nc"))


def test_an_analysis_cites_its_measures_model_backend_and_schedule(tmp_path):
    shared = ["layerscope", "biderman2023pythia", "fiottokaufman2025nnsight", "sun2024painters"]
    assert analysis(tmp_path, ["cka", "effective_rank"]) == [
        *shared,
        "nguyen2021wide",
        "song2012feature",
        "roy2007effective",
    ]
    assert analysis(tmp_path, ["cka_biased"], bootstrap=5) == [*shared, "kornblith2019similarity", "efron1979bootstrap"]
    everything = {key for measure in MEASURES.values() for key in measure.cites}
    assert set(analysis(tmp_path, list(MEASURES))) == {*shared, *everything}


def test_a_capture_cites_its_model_and_an_own_schedule(tmp_path):
    write_capture(tmp_path / "run.h5", torch.zeros(4, 3, 5), layout())
    text = ls.cite(tmp_path / "run.h5")
    assert keys(text) == ["layerscope", "sun2024painters"]  # its schedule is "some schedule", no identity
    assert "the model some model — ü" in text


def test_training_cites_the_measure(tmp_path):
    steps = [capture(walk(30, 3, 4, seed=step), attrs={"model": f"pythia-14m@step{step}"}) for step in (1, 2)]
    write_result(ls.over_training(steps, "procrustes"), tmp_path / "training.nc")
    assert keys(ls.cite(tmp_path / "training.nc")) == ["layerscope", "biderman2023pythia", "ding2021grounding"]


def test_a_sweep_cites_schedules_tasks_and_its_drift(tmp_path):
    tasks = ["lm-eval:lambada_openai", "lm-eval:arc_easy", "lm-eval:nothing_known", "builtin:cloze"]
    sweep = xr.Dataset(
        {"loss": (("task", "run"), np.zeros((4, 1))), "drift_cka": (("task", "run"), np.full((4, 1), np.nan))},
        {"task": tasks, "run": [0], "schedule": ("run", ["identity"])},
        {"model": "SmolLM2-135M", "architecture": "llama"},
    )
    expected = [
        "layerscope",
        "allal2025smollm2",
        "sun2024painters",
        "evalharness",
        "paperno2016lambada",
        "clark2018arc",
    ]
    write_result(sweep, tmp_path / "sweep.nc")
    assert keys(ls.cite(tmp_path / "sweep.nc")) == expected
    sweep["loss_low"] = sweep["loss"]
    write_result(sweep.assign(drift_cka=sweep["loss"]), tmp_path / "sweep.nc")
    assert keys(ls.cite(tmp_path / "sweep.nc")) == [
        *expected,
        "nguyen2021wide",
        "song2012feature",
        "efron1979bootstrap",
    ]


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "text.nc").write_text("no file of ours")
    with pytest.raises(FileError, match="no LayerScope file"):
        ls.cite(tmp_path / "text.nc")
    xr.Dataset({"cka": ("layer", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with pytest.raises(FileError, match="it lacks layerscope_version"):
        ls.cite(tmp_path / "foreign.nc")
