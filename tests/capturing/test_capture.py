import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings

import h5py
import numpy as np
import pytest
import torch
import transformers
import xarray

from layerscope.capturing.capture import capture
from layerscope.errors import CaptureError, TextsError, UsageError
from layerscope.models.loading import load_model, wrap_module
from layerscope.store.header import read_header
from layerscope.texts.sources import open_texts
from tests.families import tiny_module
from tests.tokenizers import WORDS, word_tokenizer


def texts(count=12, seed=0, longest=20):
    """Texts of very different lengths, so that batching reorders them."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, longest + 1))) for _ in range(count)]


def tiny(family="llama", **options):
    return wrap_module(tiny_module(family, **options), word_tokenizer(), name=f"tiny-{family}")


def states_one_by_one(model, text):
    """Oracle: each text alone, unbatched, through the library's own `output_hidden_states`."""
    ids = torch.tensor([model.tokenizer(text).input_ids])
    with torch.no_grad():
        output = model.module(ids, output_hidden_states=True)
    # The library's last entry is after the final norm; the ones before it enter the blocks.
    return ids[0].numpy(), torch.stack(output.hidden_states[:-1], dim=2)[0].numpy(), output.hidden_states[-1][0].numpy()


def content(path):
    """Everything in an HDF5 file: datasets, and attributes of every object, but for the references between them."""
    found = {}
    with h5py.File(path) as file:
        objects = [("/", file), *((name, file[name]) for name in file)]
        for name, thing in objects:
            for key, value in thing.attrs.items():
                if key == "provenance":
                    found[name, key] = {**json.loads(value), "command": None}  # this test's, or its subprocess's
                elif key == "committed":
                    found[name, key] = np.asarray(value).tolist()[:2]  # the third is bound to the checksum
                elif key not in ("DIMENSION_LIST", "REFERENCE_LIST", "checksum"):  # which has the command in it, too
                    found[name, key] = np.asarray(value).tolist()
            if isinstance(thing, h5py.Dataset):
                found[name] = (
                    thing.shape,
                    str(thing.dtype),
                    thing[...].tobytes() if thing.dtype != object else thing[...].tolist(),
                )
    return found


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_rows_stand_in_input_order_whatever_the_batching(tmp_path, batch_tokens):
    model, given = tiny(), texts()
    report = capture(model, given, tmp_path / "run.h5", batch_tokens=batch_tokens, final_norm=True)
    ds = xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf")
    start = 0
    for sequence, text in enumerate(given):
        ids, states, normed = states_one_by_one(model, text)
        rows = slice(start, start + len(ids))
        assert (ds.token_id[rows] == ids).all()
        assert (ds.sequence_index[rows] == sequence).all()
        assert (ds.position[rows] == np.arange(len(ids))).all()
        assert ds.sequence_length[sequence] == len(ids)
        np.testing.assert_allclose(ds.hidden[rows, :-1], states, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ds.final_norm[rows], normed, rtol=1e-4, atol=1e-4)
        start += len(ids)
    assert report.rows == report.tokens == start == ds.sizes["token"]
    assert ds.layer.values.tolist() == [0, 1, 2, 3, 4]
    assert ds.layer_name.values.tolist() == ["embedding", "block.0", "block.1", "block.2", "block.3"]
    assert ds.sequence_id.values.tolist() == [str(number) for number in range(len(given))]


def test_last_state_is_before_the_final_norm(tmp_path):
    model = tiny()
    capture(model, texts(3), tmp_path / "run.h5", final_norm=True)
    ds = xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf")
    with torch.no_grad():
        normed = model.module.model.norm(torch.from_numpy(ds.hidden[:, -1].values))
    np.testing.assert_allclose(normed, ds.final_norm, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layers", "kept"), [("0", [0]), ("4", [4]), ("0,2-3", [0, 2, 3])])
def test_layers_are_those_of_a_full_capture(tmp_path, layers, kept):
    model, given = tiny(), texts()
    capture(model, given, tmp_path / "all.h5")
    capture(model, given, tmp_path / "some.h5", layers=layers)
    whole, some = (xarray.open_dataset(tmp_path / name, engine="h5netcdf") for name in ("all.h5", "some.h5"))
    assert some.layer.values.tolist() == kept
    assert np.array_equal(some.hidden, whole.hidden.sel(layer=kept))


def test_last_token(tmp_path):
    model, given = tiny(), texts()
    capture(model, given, tmp_path / "all.h5")
    capture(model, given, tmp_path / "last.h5", tokens="last")
    whole, last = (xarray.open_dataset(tmp_path / name, engine="h5netcdf") for name in ("all.h5", "last.h5"))
    ends = np.cumsum(whole.sequence_length) - 1
    assert np.array_equal(last.hidden, whole.hidden[ends])
    assert np.array_equal(last.position, whole.sequence_length - 1)
    assert np.array_equal(last.sequence_length, whole.sequence_length)


def test_sample_depends_on_seed_and_sequence_alone(tmp_path):
    model, given = tiny(), texts()
    for name, options in {
        "one": {"seed": 5},
        "same": {"seed": 5, "batch_tokens": 1},
        "other": {"seed": 6},
    }.items():
        capture(model, given, tmp_path / f"{name}.h5", tokens="sample:3", **options)
    one, same, other = (xarray.open_dataset(tmp_path / f"{n}.h5", engine="h5netcdf") for n in ("one", "same", "other"))
    assert np.array_equal(one.position, same.position)
    assert not np.array_equal(one.position, other.position)
    lengths = one.sequence_length.values
    for sequence, length in enumerate(lengths):
        kept = one.position[one.sequence_index == sequence].values
        assert len(kept) == min(3, length)
        assert (np.diff(kept) > 0).all()
        drawn = np.random.default_rng([5, sequence]).choice(length, 3, replace=False) if length > 3 else range(length)
        assert kept.tolist() == sorted(drawn)


def test_attributes_of_the_contract(tmp_path):
    (tmp_path / "some.txt").write_text("w1 w2 w3 w4 w5\n\nw6\n")
    with pytest.warns(UserWarning, match="1 texts are longer than 3 tokens and were truncated"):
        capture(tiny(), tmp_path / "some.txt", tmp_path / "run.h5", max_length=3, store_dtype="bfloat16")
    attrs = xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf").attrs
    provenance = attrs.pop("provenance")
    assert '"seed": 0' in provenance
    assert attrs == {
        "layerscope_version": "0.1.0",
        "model": "tiny-llama",
        "architecture": "llama",
        "num_blocks": 4,
        "parameters": 2 * 97 * 32 + 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 32,
        "backend": "hooks",
        "compute_dtype": "float32",
        "schedule": "identity",
        "schedule_blocks": "0-3",
        "texts": str(tmp_path / "some.txt"),
        "truncated_sequences": 1,
        "skipped_texts": 1,
        "complete": 1,
    }


def test_context_is_the_limit_without_max_length(tmp_path):
    with pytest.warns(UserWarning, match="1 texts are longer than 64 tokens and were truncated"):
        report = capture(tiny(), [" ".join(["w1"] * 100)], tmp_path / "run.h5")
    assert (report.rows, report.truncated) == (64, 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_storage_type_rounds_what_was_computed(tmp_path, dtype):
    model, given = tiny(), texts()
    capture(model, given, tmp_path / "full.h5")
    capture(model, given, tmp_path / "half.h5", store_dtype=dtype)
    full, half = (xarray.open_dataset(tmp_path / name, engine="h5netcdf") for name in ("full.h5", "half.h5"))
    rounded = torch.from_numpy(full.hidden.values).to(getattr(torch, dtype))
    assert np.array_equal(half.hidden, rounded.float())


class Keeping:
    """A sink that keeps every row."""

    def __init__(self):
        self.rows = []

    def update(self, rows):
        self.rows.append(rows)


def test_sinks_see_every_row_once_with_or_without_a_file(tmp_path):
    model, given = tiny(), texts()
    beside, alone = Keeping(), Keeping()
    capture(model, given, tmp_path / "run.h5", sinks=[beside], batch_tokens=40)
    report = capture(model, given, sinks=[alone], batch_tokens=40)
    assert report.path is None
    ds = xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf")
    for sink in (beside, alone):
        order = np.concatenate([rows.row for rows in sink.rows])
        assert sorted(order) == list(range(ds.sizes["token"]))
        assert np.array_equal(torch.cat([rows.hidden for rows in sink.rows]), ds.hidden[order])
        assert np.array_equal(np.concatenate([rows.token_id for rows in sink.rows]), ds.token_id[order])


@pytest.fixture
def folder_and_texts(tmp_path):
    folder = tmp_path / "model"
    tiny_module("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    (tmp_path / "some.txt").write_text("\n".join(texts(60)))
    return folder, tmp_path / "some.txt"


SLOW_CAPTURE = """
import sys, time
import layerscope.capturing.capture as door
from layerscope.models.loading import load_model
door._COMMIT_SECONDS = 0.0
update = door._CommittedFile.update
def slowly(self, rows):
    update(self, rows)
    print("batch", flush=True)
    time.sleep(0.02)
door._CommittedFile.update = slowly
door.capture(load_model({folder!r}), {texts!r}, {output!r}, batch_tokens=40, resume=True)
"""


def start_slow_capture(folder, source, output):
    code = SLOW_CAPTURE.format(folder=str(folder), texts=str(source), output=str(output))
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def test_killed_capture_resumes_to_the_very_same_file(tmp_path, folder_and_texts):
    folder, source = folder_and_texts
    undisturbed, killed = tmp_path / "undisturbed.h5", tmp_path / "killed.h5"
    capture(load_model(folder), source, undisturbed, batch_tokens=40)
    for batches in (1, 5):
        process = start_slow_capture(folder, source, killed)
        for _ in range(batches):
            assert process.stdout.readline() == "batch\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        header = read_header(killed)
        assert not header.complete
        assert 0 < header.committed_rows < header.sizes["token"]
    report = capture(load_model(folder), source, killed, batch_tokens=40, resume=True)
    assert not report.already_complete
    assert content(killed) == content(undisturbed)
    assert capture(load_model(folder), source, killed, batch_tokens=40, resume=True).already_complete


def test_a_complete_capture_is_known_without_loading_the_model(tmp_path, folder_and_texts, monkeypatch):
    folder, source = folder_and_texts
    path = tmp_path / "run.h5"
    capture(str(folder), source, path, store_dtype="bfloat16", schedule="skip:0", layers="0-1")
    same = {"store_dtype": "bfloat16", "schedule": "skip:0", "layers": "0-1", "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr("layerscope.capturing.request.as_model", None)
        left = tmp_path / ".run.h5.lock"  # by a capture that was killed after its last write
        left.touch()
        report = capture(str(folder), source, path, **same)
        assert report.already_complete
        assert not left.exists()
        assert (report.path, report.rows) == (path, read_header(path).sizes["token"])
    with pytest.raises(CaptureError, match="stored with layers '0-1', got None"):
        capture(str(folder), source, path, **same | {"layers": None})
    with pytest.raises(CaptureError, match="stored with compute_dtype 'float32', got 'bfloat16'"):
        capture(str(folder), source, path, dtype="bfloat16", **same)
    weights = next(folder.glob("*.safetensors"))
    other = tmp_path / "other" / folder.name
    shutil.copytree(folder, other)
    module = transformers.AutoModelForCausalLM.from_pretrained(folder)
    module.get_input_embeddings().weight.data += 1.0
    module.save_pretrained(other)
    assert (other / weights.name).read_bytes() != weights.read_bytes()
    with pytest.raises(CaptureError, match="stored with weights 'sha256:"):
        capture(str(other), source, path, **same)


def test_second_capture_into_one_file_is_refused(tmp_path, folder_and_texts):
    folder, source = folder_and_texts
    model = load_model(folder)  # before the other capture, which does not wait
    process = start_slow_capture(folder, source, tmp_path / "run.h5")
    assert process.stdout.readline() == "batch\n"
    with pytest.raises(CaptureError, match="another capture is writing"):
        capture(model, source, tmp_path / "run.h5", batch_tokens=40, overwrite=True)
    assert process.wait() == 0
    process.stdout.close()
    assert read_header(tmp_path / "run.h5").complete


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"backend": "nnsight"}, "backend 'hooks', got 'nnsight'"),
        ({"store_dtype": "bfloat16"}, "store_dtype 'float32', got 'bfloat16'"),
        ({"tokens": "last"}, "tokens 'all', got 'last'"),
        ({"layers": "0-2"}, "layers None, got '0-2'"),
        ({"batch_tokens": 50}, "batch_tokens 40, got 50"),
    ],
)
def test_resume_with_other_settings_names_the_first(tmp_path, options, difference):
    model, given = tiny(), texts()
    capture(model, given, tmp_path / "run.h5", batch_tokens=40)
    with pytest.raises(CaptureError, match=f"stored with {difference}"):
        capture(model, given, tmp_path / "run.h5", resume=True, **{"batch_tokens": 40} | options)


def test_resume_with_other_weights_is_refused(tmp_path, folder_and_texts):
    folder, source = folder_and_texts
    capture(load_model(folder), source, tmp_path / "run.h5")
    tiny_module("llama", seed=1).save_pretrained(folder)
    with pytest.raises(CaptureError, match="stored with weights"):
        capture(load_model(folder), source, tmp_path / "run.h5", resume=True)


def test_resume_of_nothing_starts(tmp_path):
    assert capture(tiny(), texts(), tmp_path / "run.h5", resume=True).rows > 0


def test_existing_output_is_left_alone(tmp_path):
    (tmp_path / "run.h5").write_text("precious")
    with pytest.raises(UsageError, match=r"exists already: give --resume to continue it, --overwrite to replace it"):
        capture(tiny(), texts(), tmp_path / "run.h5")
    assert (tmp_path / "run.h5").read_text() == "precious"


def test_failed_overwrite_keeps_the_old_file(tmp_path):
    capture(tiny(), texts(), tmp_path / "run.h5")
    before = (tmp_path / "run.h5").read_bytes()
    with pytest.raises(TextsError):
        capture(tiny(), ["", " "], tmp_path / "run.h5", overwrite=True)
    assert (tmp_path / "run.h5").read_bytes() == before
    assert os.listdir(tmp_path) == ["run.h5"]


def broken(value):
    """A model whose third block gives `value` at one place for the token w5."""
    model = tiny()

    def spoil(_, args, output):
        output = output.clone()
        output[..., 7] = torch.where((model.marked == 7)[:, : output.shape[1]], value, output[..., 7])
        return output

    def mark(_, args, kwargs):
        model.__dict__["marked"] = kwargs["input_ids"]

    model.trunk.register_forward_pre_hook(mark, with_kwargs=True)
    model.blocks[2].register_forward_hook(spoil)
    return model


@pytest.mark.parametrize(
    ("value", "store_dtype", "said"),
    [
        (float("nan"), "float32", "NaN in the states"),
        (float("inf"), "bfloat16", "Inf in the states"),
        (1e5, "float16", r"1e\+05 does not fit float16"),
    ],
)
def test_impossible_numbers_stop_the_capture_and_name_the_place(tmp_path, value, store_dtype, said):
    given = ["w1 w2", "w3 w4 w5 w6", "w8"]
    with pytest.raises(CaptureError, match=rf"{said}.*: layer block.2, sequence '1', position 2 \(token id 7\)"):
        capture(broken(value), given, tmp_path / "run.h5", store_dtype=store_dtype)
    assert not read_header(tmp_path / "run.h5").complete


def test_impossible_numbers_stop_statistics_too():
    with pytest.raises(CaptureError, match=r"NaN in the states: layer block\.2, sequence '1', position 2"):
        capture(broken(float("nan")), ["w1 w2", "w3 w4 w5 w6", "w8"], sinks=[Keeping()])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layers": "0-9"}, CaptureError, "there is no state 9; a model of 4 blocks has states 0 to 4"),
        ({"layers": "3-1"}, UsageError, "is not a state number or a rising range"),
        ({"tokens": "some"}, UsageError, "choose all, first, last, mean, generated, sample:K"),
        ({"tokens": "sample:0"}, UsageError, "sample:K with K of 1 or more"),
        ({"backend": "hook"}, UsageError, "unknown backend 'hook': did you mean 'hooks'"),
        ({"store_dtype": "int8"}, UsageError, "unknown store dtype 'int8'"),
        ({"batch_tokens": 0}, UsageError, "--batch-tokens 0: give 1 token or more"),
        ({"max_length": 0}, UsageError, "--max-length 0: give 1 token or more"),
        ({"seed": -1}, UsageError, "a seed is 0 or more"),
        ({"resume": True, "overwrite": True}, UsageError, "exclude each other"),
    ],
)
def test_wrong_options_leave_nothing_behind(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        capture(tiny(), texts(2), tmp_path / "run.h5", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize(("family", "most"), [("gpt2", 64), ("opt", 64), ("bert", 64), ("roberta", 62)])
def test_max_length_beyond_the_learned_positions_is_refused(family, most):
    model, text = tiny(family), " ".join(["w1"] * 99)
    with pytest.raises(CaptureError, match=f"--max-length {most + 1}: tiny-{family} takes {most} tokens at most"):
        capture(model, [text], sinks=[Keeping()], max_length=most + 1)
    capture(model, [text], sinks=[Keeping()], max_length=most)


def test_max_length_beyond_the_context_of_rotary_positions_runs_and_is_said(tmp_path):
    model, text = tiny(), " ".join(WORDS[:70])
    with pytest.warns(UserWarning, match="--max-length 70: tiny-llama is made for 64 tokens"):
        capture(model, [text], tmp_path / "run.h5", max_length=70)
    ids, states, _ = states_one_by_one(model, text)
    with h5py.File(tmp_path / "run.h5") as file:
        np.testing.assert_allclose(file["hidden"][:, :4], states[:, :4], atol=2e-5)
        assert len(ids) == 70


@pytest.mark.filterwarnings("ignore:.*were truncated")
def test_a_context_that_linear_scaling_extends(tmp_path):
    scaling = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    model = tiny(max_position_embeddings=16, rope_parameters=scaling)
    report = capture(model, [" ".join(["w1"] * 99)], tmp_path / "run.h5")
    assert (model.context, report.tokens) == (64, 64)


def test_final_norm_of_a_family_without_one(tmp_path):
    with pytest.raises(CaptureError, match="bert models have no final norm"):
        capture(tiny("bert"), texts(2), tmp_path / "run.h5", final_norm=True)


def test_no_room_on_the_disk_is_said_before_the_start(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(CaptureError, match=r"needs .* has 10.0 kB free\n.*--store-dtype bfloat16"):
        capture(tiny(), texts(), tmp_path / "run.h5")
    assert os.listdir(tmp_path) == []


def test_memory_is_flat_in_the_number_of_texts():
    """Peak traced memory of many texts is that of few: nothing is kept of texts that went by."""
    import tracemalloc

    class Counting:
        def __init__(self):
            self.rows = 0

        def update(self, rows):
            self.rows += len(rows)

    model, peaks = tiny(), []
    for count in (500, 4000):
        given = (text for text in texts(count, longest=8))
        tracemalloc.start()
        capture(model, given, sinks=[Counting()], layers="0", batch_tokens=64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


@pytest.mark.real
def test_real_model_to_a_file(tmp_path, smollm2):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = capture(smollm2, "builtin:passages", tmp_path / "run.h5", limit=6, store_dtype="bfloat16")
    ds = xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf")
    assert ds.hidden.shape == (report.rows, 31, 576)
    first = next(iter(open_texts("builtin:passages"))).text
    ids, states, _ = states_one_by_one(smollm2, first)
    assert (ds.token_id[: len(ids)] == ids).all()
    np.testing.assert_allclose(ds.hidden[: len(ids), :-1], states, rtol=1e-2, atol=1e-5 * np.abs(states).max())
