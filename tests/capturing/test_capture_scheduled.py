"""Captures under a schedule: what stands in the file, and what is refused."""

import json

import h5py
import numpy as np
import pytest
import torch
import xarray

from layerscope.capturing.backends import BACKENDS
from layerscope.capturing.capture import capture
from layerscope.errors import CaptureError, ScheduleError, UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_spec
from layerscope.store.header import read_header
from tests.capturing.test_capture import content, texts, tiny
from tests.execution.oracles import run_by_hand

SPEC, STAGES = "0 (1|3)*2 2", ((0,), (1, 3), (1, 3), (2,))


def opened(path):
    return xarray.open_dataset(path, engine="h5netcdf")


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_stand_before_and_after_each_stage(tmp_path, backend):
    model, given = tiny(), texts(5)
    capture(model, given, tmp_path / "run.h5", schedule=SPEC, backend=backend, final_norm=True, batch_tokens=30)
    ds = opened(tmp_path / "run.h5")
    assert ds.layer.values.tolist() == [0, 1, 2, 3, 4]
    assert ds.layer_name.values.tolist() == ["embedding", "0", "(1|3)", "(1|3)", "2"]
    start = 0
    for text in given:
        ids = torch.tensor([model.tokenizer(text).input_ids])
        with torch.no_grad():
            states, _ = run_by_hand(model, STAGES, input_ids=ids)
            normed = model.final_norm(states[-1])[0]
        rows = slice(start, start + ids.shape[1])
        expected = torch.stack(states, dim=2)[0]
        np.testing.assert_allclose(ds.hidden[rows], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ds.final_norm[rows], normed, rtol=1e-4, atol=1e-4)
        start += ids.shape[1]
    assert start == ds.sizes["token"]


@pytest.mark.parametrize(
    ("schedule", "called", "blocks", "names"),
    [
        ("skip:0", "skip:0", "0", ["embedding", "0"]),
        ("random:0", "random:0:seed=0", "0-1 3-2", ["embedding", "0", "1", "3", "2"]),
        ("repeat:1-2:times=2", "repeat:1-2:times=2", "0-2 1-3", ["embedding", "0", "1", "2", "1", "2", "3"]),
        (parse_spec("parallel:0"), "parallel:0", "0 (1|2|3)", ["embedding", "0", "(1|2|3)"]),
        (Schedule([(3,), (2,)]), "3-2", "3-2", ["embedding", "3", "2"]),
        (((0,), (1,), (2,), (3,)), "0-3", "0-3", ["embedding", "0", "1", "2", "3"]),
        ("identity", "identity", "0-3", ["embedding", "block.0", "block.1", "block.2", "block.3"]),
    ],
)
def test_what_the_file_says_of_its_schedule(tmp_path, schedule, called, blocks, names):
    capture(tiny(), texts(2), tmp_path / "run.h5", schedule=schedule)
    ds = opened(tmp_path / "run.h5")
    assert (ds.attrs["schedule"], ds.attrs["schedule_blocks"], ds.attrs["num_blocks"]) == (called, blocks, 4)
    assert ds.layer_name.values.tolist() == names
    assert ds.sizes["layer"] == len(names)
    assert read_header(tmp_path / "run.h5").settings["schedule"] == called


def test_identity_is_a_capture_without_a_schedule(tmp_path):
    for name, options in {"plain": {}, "identity": {"schedule": "identity"}}.items():
        capture(tiny(), texts(4), tmp_path / f"{name}.h5", **options)
    assert content(tmp_path / "plain.h5") == content(tmp_path / "identity.h5")
    capture(tiny(), texts(4), tmp_path / "stages.h5", schedule="0-3")
    assert np.array_equal(opened(tmp_path / "stages.h5").hidden, opened(tmp_path / "plain.h5").hidden)


def test_layers_count_the_states_of_the_schedule(tmp_path):
    model, given = tiny(), texts(4)
    capture(model, given, tmp_path / "all.h5", schedule="0-3 3*3")
    capture(model, given, tmp_path / "some.h5", schedule="0-3 3*3", layers="0,5-7")
    whole, some = opened(tmp_path / "all.h5"), opened(tmp_path / "some.h5")
    assert some.layer.values.tolist() == [0, 5, 6, 7]
    assert some.layer_name.values.tolist() == ["embedding", "3", "3", "3"]
    assert np.array_equal(some.hidden, whole.hidden.sel(layer=[0, 5, 6, 7]))
    with pytest.raises(CaptureError) as error:
        capture(model, given, tmp_path / "none.h5", schedule="skip:0", layers="2")
    assert str(error.value) == "--layers 2: there is no state 2; a schedule of 1 stages has states 0 to 1"


def test_resuming_under_another_schedule_is_refused(tmp_path):
    model, given, path = tiny(), texts(4), tmp_path / "run.h5"
    capture(model, given, path, schedule="reverse:0")
    before = path.read_bytes()
    for schedule, said in (("identity", "'identity'"), ("0 3-1", "'0 3-1'"), ("random:0", "'random:0:seed=0'")):
        with pytest.raises(CaptureError) as error:
            capture(model, given, path, schedule=schedule, resume=True)
        assert f"stored with schedule 'reverse:0', got {said}. Resume with the same settings" in str(error.value)
    assert capture(model, given, path, schedule="reverse:0", resume=True).already_complete
    assert path.read_bytes() == before


def test_sinks_see_the_states_of_the_schedule():
    seen = []

    class Sink:
        def update(self, rows):
            seen.append(rows.hidden.clone())

    model = tiny()
    capture(model, ["w1 w2 w3"], sinks=[Sink()], schedule=SPEC)
    with torch.no_grad():
        states, _ = run_by_hand(model, STAGES, input_ids=torch.tensor([model.tokenizer("w1 w2 w3").input_ids]))
    assert torch.allclose(seen[0], torch.stack(states, dim=2)[0], atol=1e-5)


def test_numbers_that_are_none_name_the_stage(tmp_path):
    model = tiny()
    model.blocks[3].register_forward_hook(lambda _, __, stream: stream * float("nan"))
    with pytest.raises(CaptureError, match=r"^NaN in the states: layer 2, after stage \(1\|3\), sequence '0'"):
        capture(model, texts(2), tmp_path / "run.h5", schedule=SPEC)


@pytest.mark.parametrize(
    ("schedule", "error", "said"),
    [
        ("skip", UsageError, "the start N is missing"),
        ("skpi:1", UsageError, "Did you mean 'skip'"),
        ("0-3 (1|", UsageError, "column 8"),
        ("skip:2", ScheduleError, "start 2 leaves no block affected in a model of 4 blocks"),
        ("0-7", ScheduleError, "the schedule names block 7: a model of 4 blocks has 0 to 3"),
        ((), ScheduleError, "at least one stage"),
    ],
)
def test_schedules_that_cannot_be_leave_nothing_behind(tmp_path, schedule, error, said):
    with pytest.raises(error, match=said) as caught:
        capture(tiny(), texts(2), tmp_path / "run.h5", schedule=schedule)
    assert str(caught.value).count("\n") <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_capture_inside_a_schedule(tmp_path, backend):
    """Its states would bear other blocks' names."""
    model = tiny()
    for schedule in ("identity", "skip:0"):
        with pytest.raises(UsageError) as error, scheduled(model, "reverse:0"):
            capture(model, texts(2), tmp_path / "run.h5", backend=backend, schedule=schedule)
        assert str(error.value) == "tiny-llama: its blocks run under a schedule already; leave that context first"
    assert list(tmp_path.iterdir()) == []


def test_the_command_stands_in_the_file(tmp_path):
    capture(tiny(), texts(2), tmp_path / "run.h5", schedule="random:0:seed=3")
    with h5py.File(tmp_path / "run.h5") as file:
        assert "command" in json.loads(file.attrs["provenance"])
        assert file.attrs["schedule"] == "random:0:seed=3"
