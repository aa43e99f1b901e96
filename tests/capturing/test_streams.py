"""What attention and MLP of each block add to the residual stream, as backends return it and captures store it."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

import layerscope as ls
from layerscope.capturing.backends import backend_for
from layerscope.capturing.driver import run_batches
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.options import CaptureOptions
from layerscope.capturing.protocol import BatchStates, CaptureSpec
from layerscope.errors import CaptureError, FileError, ModelError, UsageError
from layerscope.measures.streaming import Statistics
from layerscope.models.model import Model
from layerscope.models.sublayers import find_sublayers
from layerscope.states import StateRows
from layerscope.store.header import read_header
from tests.capturing.conformance import (
    OWN_ARITHMETIC,
    PAIRS,
    assert_same_bits,
    batch,
    distance,
    make_model,
    shared_model,
)
from tests.capturing.test_capture import content, texts, tiny
from tests.families import DEPTH, ENCODERS, FAMILIES

ALL = "resid,attn,mlp"
EPSILON = torch.finfo(torch.float32).eps

# The norms behind the two sub-layers of blocks that end with a norm.
NORMS = {"distilbert": ("sa_layer_norm", "output_layer_norm")} | dict.fromkeys(
    ("bert", "roberta", "electra"), ("attention.output.LayerNorm", "output.LayerNorm")
)


def every_stream(model: Model) -> CaptureSpec:
    return CaptureSpec(
        tuple(range(DEPTH + 1)),
        model.final_norm is not None,
        blocks=tuple(range(DEPTH)),
        streams=("attn", "mlp"),
        sublayers=tuple(find_sublayers(model)),
    )


def run_streams(backend: str, model: Model) -> tuple[BatchStates, torch.Tensor]:
    ids, mask, _ = batch(model)
    with backend_for(backend, model).session(model, every_stream(model)) as run:
        return run(TextInputs(ids, mask)), mask


def places(run: xarray.Dataset) -> list[tuple[int, int]]:
    """Return the sequence and the position of each row."""
    return list(zip(run["sequence_index"].values.tolist(), run["position"].values.tolist(), strict=True))


def of_blocks(states: BatchStates) -> BatchStates:
    return BatchStates(states.attn + states.mlp)


# The law


@pytest.mark.parametrize("family", FAMILIES)
def test_law_of_each_family(family):
    model = make_model(family)
    states, _ = run_streams("hooks", model)
    for number, block in enumerate(model.blocks):
        before, after = states.hidden[number], states.hidden[number + 1]
        attn, mlp = states.attn[number], states.mlp[number]
        if family in ENCODERS:
            inner, last = (block.get_submodule(name) for name in NORMS[family])
            with torch.no_grad():
                total = last(inner(before + attn) + mlp)
        else:
            total = before + attn + mlp
        size = before.abs() + attn.abs() + mlp.abs() + after.abs()
        assert ((total - after).abs() <= 8 * EPSILON * size.max()).all()
        assert attn.abs().max() > 1e-3 < mlp.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_only_attention_reads_other_tokens(family):
    """Change every token but the last: the MLP of block 0 sees it only through the attention, and not at all if parallel."""
    model = shared_model(family)
    ids, mask = torch.arange(3, 12)[None], torch.ones(1, 9, dtype=torch.long)
    other = ids.clone()
    other[:, :-1] += 40
    with backend_for("hooks", model).session(model, every_stream(model)) as run:
        one, two = run(TextInputs(ids, mask)), run(TextInputs(other, mask))
    assert torch.equal(one.hidden[0][:, -1], two.hidden[0][:, -1])
    assert not torch.allclose(one.attn[0][:, -1], two.attn[0][:, -1], rtol=1e-3)
    parallel = family in ("gpt_neox", "phi", "falcon")
    assert torch.allclose(one.mlp[0][:, -1], two.mlp[0][:, -1], rtol=1e-5) == parallel


@pytest.mark.parametrize(("backend", "family"), [pair for pair in PAIRS if pair[0] != "hooks"])
def test_backends_return_what_the_hooks_return(backend, family):
    model = shared_model(family)
    if backend == "transformer-lens" and family in ("bert", "roberta"):
        with pytest.raises(CaptureError, match="TransformerLens computes attention of block 0 differently") as error:
            run_streams(backend, model)
        assert "--backend hooks" in str(error.value)
        return
    (got, mask), (expected, _) = run_streams(backend, model), run_streams("hooks", model)
    assert distance(of_blocks(got), of_blocks(expected), mask) <= OWN_ARITHMETIC.get(backend, 0)
    assert distance(got, expected, mask) <= OWN_ARITHMETIC.get(backend, 0)


@pytest.mark.parametrize("backend", ["hooks", "nnsight", "transformer-lens"])
def test_a_session_returns_the_blocks_and_streams_of_its_spec(backend):
    model = shared_model("llama")
    ids, mask, _ = batch(model)
    everything, _ = run_streams(backend, model)
    wanted = replace(every_stream(model), layers=(2,), final_norm=False, blocks=(1, 3), streams=("mlp",))
    with backend_for(backend, model).session(model, wanted) as run:
        got = run(TextInputs(ids, mask))
    assert_same_bits(got, BatchStates([everything.hidden[2]]))
    assert_same_bits(BatchStates(got.mlp), BatchStates([everything.mlp[1], everything.mlp[3]]))
    assert got.attn == []


# Under a schedule


def test_a_stage_adds_the_mean_of_what_its_blocks_add(tmp_path):
    model, words = tiny("llama"), texts(3)
    ls.capture(model, words, tmp_path / "run.h5", streams=ALL, schedule="0 (1|2) 2 0")
    with ls.open_capture(tmp_path / "run.h5") as run:
        assert run["block_name"].values.tolist() == ["0", "(1|2)", "2", "0"]
        hidden = run["hidden"].values
        total = hidden[:, :-1] + run["attn_out"].values + run["mlp_out"].values
        np.testing.assert_allclose(hidden[:, 1:], total, atol=1e-5)
        # By hand: block 2 alone on the state after the parallel stage, for one text without padding.
        rows = run["sequence_index"].values == 0
        stream = torch.from_numpy(hidden[rows][:, 2])[None]
        block = model.blocks[2]
        positions = torch.arange(stream.shape[1])[None]
        with torch.no_grad():
            rotary = model.trunk.rotary_emb(stream, positions)
            mask = torch.full((stream.shape[1],) * 2, float("-inf")).triu(1)[None, None]
            attn, _ = block.self_attn(block.input_layernorm(stream), position_embeddings=rotary, attention_mask=mask)
            mlp = block.mlp(block.post_attention_layernorm(stream + attn))
        np.testing.assert_allclose(run["attn_out"].values[rows, 2], attn[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(run["mlp_out"].values[rows, 2], mlp[0].numpy(), atol=1e-5)


def test_schedules_that_have_no_sublayers_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="so attn and mlp of a stage of several blocks are not defined"):
        ls.capture(tiny("bert"), texts(1), tmp_path / "run.h5", streams="attn", schedule="0 (1|2) 3")
    with pytest.raises(CaptureError, match="nnsight backend records attn and mlp of the model unchanged only"):
        ls.capture(tiny(), texts(1), tmp_path / "run.h5", streams="attn", schedule="skip:1", backend="nnsight")
    ls.capture(tiny("bert"), texts(1), tmp_path / "run.h5", streams=ALL, schedule="0 2 1 3")


# The file


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "run.h5"
    ls.capture(tiny(), texts(), path, streams=ALL, final_norm=True)
    return path


def test_plain_xarray_reads_the_file(captured):
    with xarray.open_dataset(captured, engine="h5netcdf") as run:
        for name in ("attn_out", "mlp_out"):
            assert run[name].dims == ("token", "block", "feature")
            assert set(run[name].coords) == {"block", "block_name", "sequence_index", "position", "token_id"}
        assert run["block"].values.tolist() == [0, 1, 2, 3]
        assert run["block_name"].values.tolist() == ["block.0", "block.1", "block.2", "block.3"]
        hidden = run["hidden"].values
        np.testing.assert_allclose(
            hidden[:, 1:], hidden[:, :-1] + run["attn_out"].values + run["mlp_out"].values, atol=1e-5
        )
    with h5py.File(captured) as file:
        assert file["block"].is_scale
        scales = [dim[0].name for dim in file["attn_out"].dims]
        assert scales == ["/token", "/block", "/feature"]


def test_resid_is_what_it_is_without_the_other_streams(captured, tmp_path):
    ls.capture(tiny(), texts(), tmp_path / "run.h5", final_norm=True)
    with ls.open_capture(captured) as all_streams, ls.open_capture(tmp_path / "run.h5") as resid:
        assert set(all_streams.variables) - set(resid.variables) == {"attn_out", "mlp_out", "block", "block_name"}
        for name in resid.variables:
            assert resid[name].identical(all_streams[name].drop_vars(["block", "block_name"], errors="ignore"))


@pytest.mark.parametrize("streams", ["attn", "mlp", "mlp,attn"])
def test_a_file_without_the_residual_stream(captured, tmp_path, streams):
    ls.capture(tiny(), texts(), tmp_path / "run.h5", streams=streams)
    with ls.open_capture(tmp_path / "run.h5") as run, ls.open_capture(captured) as everything:
        assert not {"hidden", "layer", "layer_name"} & {*run.variables, *run.dims}
        for name in streams.split(","):
            assert run[f"{name}_out"].identical(everything[f"{name}_out"])
        with pytest.raises(
            FileError, match="the dataset does not hold the stream resid: it was captured with --streams"
        ):
            ls.analyze(run)
    with pytest.raises(FileError, match=r"run.h5 does not hold the stream resid.*\n.*capture again with --streams"):
        ls.analyze(tmp_path / "run.h5")
    assert read_header(tmp_path / "run.h5").layout.streams == tuple(sorted(streams.split(",")))


def test_layers_select_the_blocks_that_these_states_leave(captured, tmp_path):
    ls.capture(tiny(), texts(), tmp_path / "run.h5", streams=ALL, layers="0,2-3")
    with ls.open_capture(tmp_path / "run.h5") as run, ls.open_capture(captured) as everything:
        assert run["block"].values.tolist() == [1, 2]
        assert run["attn_out"].identical(everything["attn_out"].sel(block=[1, 2]))
        assert run["hidden"].identical(everything["hidden"].sel(layer=[0, 2, 3]))
    with pytest.raises(
        CaptureError, match="--layers 0 has no block for --streams attn: state 0 enters the first block"
    ):
        ls.capture(tiny(), texts(), tmp_path / "none.h5", streams="attn", layers="0")


def test_a_sample_of_tokens(captured, tmp_path):
    ls.capture(tiny(), texts(), tmp_path / "run.h5", streams=ALL, tokens="sample:2", batch_tokens=20)
    with ls.open_capture(tmp_path / "run.h5") as run, ls.open_capture(captured) as everything:
        place = {key: row for row, key in enumerate(places(everything))}
        rows = [place[key] for key in places(run)]
        assert len(rows) < len(place)
        for name in ("hidden", "attn_out", "mlp_out"):
            np.testing.assert_allclose(run[name].values, everything[name].values[rows], atol=1e-5)


def test_bfloat16_is_rounded_to_nearest_even(captured, tmp_path):
    ls.capture(tiny(), texts(), tmp_path / "run.h5", streams=ALL, store_dtype="bfloat16")
    with ls.open_capture(tmp_path / "run.h5") as run, ls.open_capture(captured) as everything:
        for name in ("attn_out", "mlp_out"):
            rounded = torch.from_numpy(everything[name].values).bfloat16().float().numpy()
            assert np.array_equal(run[name].values, rounded)


def test_forecast_counts_every_stream(captured):
    layout = read_header(captured).layout
    with h5py.File(captured) as file:
        rows, sequences = len(file["token"]), len(file["sequence_id"])
    forecast = layout.forecast_bytes(rows, sequences)
    assert forecast - replace(layout, streams=("resid",), block=(), block_name=()).forecast_bytes(rows, sequences) > (
        2 * DEPTH * rows * layout.width * 4
    )
    assert captured.stat().st_size <= forecast


# Resuming


def test_an_interrupted_capture_resumes_to_the_same_file(captured, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def interrupted(request, index, sinks, **options):
        class Two:
            batches = 0
            keeps_rows = False

            def update(self, rows: StateRows) -> None:
                if self.batches == 2:
                    raise Stop
                self.batches += 1
                sinks[0].update(rows)
                sinks[0]._writer.commit()

        run_batches(request, index, [Two()], **options)

    path, options = tmp_path / "run.h5", {"streams": ALL, "final_norm": True, "batch_tokens": 30}
    with monkeypatch.context() as patch:
        patch.setattr("layerscope.capturing.capture.run_batches", interrupted)
        with pytest.raises(Stop):
            ls.capture(tiny(), texts(), path, **options)
    assert 0 < read_header(path).committed_rows < read_header(path).sizes["token"]
    with pytest.raises(CaptureError, match="stored with streams 'resid,attn,mlp', got none"):
        ls.capture(tiny(), texts(), path, resume=True, final_norm=True, batch_tokens=30)
    with pytest.raises(CaptureError, match="stored with streams 'resid,attn,mlp', got 'resid,mlp'"):
        ls.capture(tiny(), texts(), path, resume=True, **options | {"streams": "mlp,resid"})
    ls.capture(tiny(), texts(), path, resume=True, **options)
    ls.capture(tiny(), texts(), tmp_path / "whole.h5", **options)
    assert content(path) == content(tmp_path / "whole.h5")


def test_a_file_of_an_older_version_is_complete_without_the_option(tmp_path):
    ls.capture(tiny(), texts(2), tmp_path / "run.h5")
    assert "streams" not in read_header(tmp_path / "run.h5").settings


# Wrong use, damage and faults


@pytest.mark.parametrize(
    ("streams", "message"),
    [("resid,atn", "unknown stream 'atn': .*attn"), *((empty, "--streams is empty") for empty in ("", " , ", []))],
)
def test_wrong_streams(streams, message):
    with pytest.raises(UsageError, match=message):
        CaptureOptions(streams=streams)


def test_streams_may_be_a_list_in_any_order():
    assert CaptureOptions(streams=["mlp", "resid", "mlp"]).streams == "resid,mlp"


def test_nan_names_block_and_stream(tmp_path):
    model = tiny()
    found = find_sublayers(model)
    model.blocks[2].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("layerscope.capturing.request.find_sublayers", lambda _: found)
        with pytest.raises(
            CaptureError, match=r"NaN in the states: layer block.2 \(mlp_out\), sequence '0', position 0"
        ):
            ls.capture(model, texts(2), tmp_path / "run.h5", streams="mlp,attn")
        for streams in (ALL, "mlp"):
            with pytest.raises(CaptureError, match=r"NaN in the states: layer block.2 \(mlp_out\)"):
                ls.capture(model, texts(2), sinks=[Statistics(["norm"])], streams=streams)


def test_overflow_names_block_and_stream(tmp_path):
    model = tiny()
    found = find_sublayers(model)
    model.blocks[1].self_attn.o_proj.weight.data.mul_(1e6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("layerscope.capturing.request.find_sublayers", lambda _: found)
        with pytest.raises(CaptureError, match=r"does not fit float16 .*: layer block.1 \(attn_out\)"):
            ls.capture(model, texts(2), tmp_path / "run.h5", streams="attn", store_dtype="float16")


def test_a_family_whose_sublayers_cannot_be_found_keeps_resid(tmp_path):
    model = tiny()
    for block in model.blocks:
        block.mlp.register_forward_hook(lambda _, __, output: output.roll(1, dims=1))  # an MLP that reads other tokens
    with pytest.raises(ModelError, match="attention and MLP of llama cannot be separated"):
        ls.capture(model, texts(2), tmp_path / "run.h5", streams="resid,attn")
    assert not (tmp_path / "run.h5").exists()
    ls.capture(model, texts(2), tmp_path / "run.h5")


@pytest.mark.parametrize("name", ["block", "block_name"])
def test_a_file_without_the_axis_of_a_stream_is_refused(captured, tmp_path, name):
    path = tmp_path / "run.h5"
    path.write_bytes(captured.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(FileError, match=f"is no LayerScope capture: it lacks {name}"):
        ls.open_capture(path)


def test_a_changed_block_number_is_damage(captured, tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(captured.read_bytes())
    with h5py.File(path, "r+") as file:
        file["block"][0] = 7
    with pytest.raises(FileError, match="damaged: its tokens or texts do not match their checksum"):
        ls.open_capture(path)


def test_provenance_names_the_parts(captured):
    with ls.open_capture(captured) as run:
        made = json.loads(run.attrs["provenance"])
    assert (made["attn_part"], made["mlp_part"], made["sublayer_law"]) == (["self_attn"], ["mlp"], "sum")


@pytest.mark.real
def test_law_on_a_real_model(smollm2, tmp_path):
    ls.capture(smollm2, "builtin:passages", tmp_path / "run.h5", streams=ALL, limit=1)
    with ls.open_capture(tmp_path / "run.h5") as run:
        hidden, attn, mlp = (run[name].values.astype(np.float64) for name in ("hidden", "attn_out", "mlp_out"))
    size = abs(hidden[:, :-1]) + abs(attn) + abs(mlp)
    assert (abs(hidden[:, 1:] - hidden[:, :-1] - attn - mlp) <= 2 * EPSILON * size).all()
