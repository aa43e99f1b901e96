"""The file read by programs that do not know LayerScope."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from layerscope.store.opening import open_capture
from layerscope.store.schema import STORE_DTYPES
from tests.store.captures import ATTRIBUTES, layout, states, write_capture

STRANGER = """
import sys, xarray, numpy
for path in sys.argv[1:]:
    ds = xarray.open_dataset(path, engine="h5netcdf")
    numpy.save(path + ".npy", ds["hidden"].values)
    print(ds["hidden"].dtype, ds["hidden"].dims, sorted(ds["hidden"].coords), sorted(ds["final_norm"].coords))
    print(sorted(ds.dims), sorted(ds.coords), sorted(ds.data_vars), sorted(ds.indexes))
    print(ds["layer"].values, ds["layer_name"].values, ds["sequence_id"].values, ds["sequence_length"].values)
    print(ds["sequence_index"].dtype, ds["position"].values[[0, 99]], ds["token_id"].values[[0, 99]], ds.attrs["complete"])
    print(ds["hidden"].sel(layer=1).isel(token=slice(2, 4)).shape)
print(sorted(name for name in sys.modules if name.startswith(("layerscope", "torch"))))
"""


def test_xarray_alone_reads_it(tmp_path: Path) -> None:
    of = {name: layout(dtype=dtype, final_norm=True) for name, dtype in STORE_DTYPES.items()}
    hidden, final = states(100, of["float32"]), torch.zeros(100, 5)
    paths = [write_capture(tmp_path / name, hidden, of[name], lengths=[60, 40], final=final) for name in of]
    command = [sys.executable, "-c", STRANGER, *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    said = done.stdout.splitlines()
    assert said.pop() == "[]"
    for number, path in enumerate(paths):
        assert said[5 * number : 5 * number + 5] == [
            f"{'float16' if path.name == 'float16' else 'float32'} ('token', 'layer', 'feature') "
            "['layer', 'layer_name', 'position', 'sequence_index', 'token_id'] "
            "['position', 'sequence_index', 'token_id']",
            "['feature', 'layer', 'sequence', 'token'] "
            "['layer', 'layer_name', 'position', 'sequence_index', 'token_id'] "
            "['final_norm', 'hidden', 'sequence_id', 'sequence_length'] ['layer']",
            "[0 1 2] ['embedding' 'block.0' 'block.1'] ['text 0 ß' 'text 1 ß'] [60 40]",
            "int64 [ 0 39] [   0 1039] 1",
            "(2, 5)",
        ]
        assert np.array_equal(np.load(f"{path}.npy"), hidden.to(STORE_DTYPES[path.name]).float().numpy())


def test_the_file_itself_keeps_to_the_contract(tmp_path: Path) -> None:
    of = layout(final_norm=True)
    path = write_capture(tmp_path / "run.h5", states(300, of), of, lengths=[200, 100], final=torch.zeros(300, 5))
    axes = {
        "hidden": ["token", "layer", "feature"],
        "final_norm": ["token", "feature"],
        "layer_name": ["layer"],
        "sequence_index": ["token"],
        "position": ["token"],
        "token_id": ["token"],
        "sequence_id": ["sequence"],
        "sequence_length": ["sequence"],
    }
    with h5py.File(path) as file:
        assert set(file) == {*axes, "token", "layer", "feature", "sequence"}
        for name in ("token", "layer", "feature", "sequence"):
            assert h5py.h5ds.is_scale(file[name].id)
        for name, expected in axes.items():
            attached = [[scale.name for scale in dimension.values()] for dimension in file[name].dims]
            assert attached == [[f"/{dimension}"] for dimension in expected]
        for name in ("layer_name", "sequence_id"):
            text = h5py.check_string_dtype(file[name].dtype)
            assert (text.encoding, text.length) == ("utf-8", None)
        for name, value in file.attrs.items():
            assert type(value) in (str, np.int64), name
            if isinstance(value, str):
                assert file.attrs.get_id(name).get_type().get_cset() == h5py.h5t.CSET_UTF8
                assert file.attrs.get_id(name).get_type().is_variable_str()
        assert set(file.attrs) == {*ATTRIBUTES, "complete"}
        assert file["hidden"].attrs["coordinates"] == "layer_name sequence_index position token_id"
        assert (file["hidden"].chunks, file["hidden"].compression) == ((256, 1, 5), None)
        plan = file["hidden"].id.get_create_plist()
        assert (plan.get_alloc_time(), plan.get_fill_time()) == (h5py.h5d.ALLOC_TIME_EARLY, h5py.h5d.FILL_TIME_NEVER)
        assert {name: file[name].dtype.name for name in ("layer", "sequence_index", "position", "token_id")} == {
            "layer": "int64",
            "sequence_index": "int64",
            "position": "int32",
            "token_id": "int32",
        }
        assert file["sequence_length"].dtype == np.int32
        assert [file[name].id.get_storage_size() for name in ("token", "feature", "sequence")] == [0, 0, 0]
        assert path.read_bytes()[8] == 0, "superblock of the earliest version: a killed writer's file still opens"


def test_opening_reads_nothing_but_the_layers(tmp_path: Path) -> None:
    of = layout()
    hidden = states(50, of)
    path = write_capture(tmp_path / "run.h5", hidden, of)
    with open_capture(path) as dataset:
        assert isinstance(dataset, xarray.Dataset)
        assert not dataset["hidden"].variable._in_memory  # type: ignore[attr-defined]
        assert not dataset["token_id"].variable._in_memory  # type: ignore[attr-defined]
        assert np.array_equal(dataset["hidden"].values, hidden.to(torch.bfloat16).float().numpy())


def test_dask_takes_the_chunks_of_the_file(tmp_path: Path) -> None:
    of = layout(dtype=torch.float32)
    hidden = states(600, of)
    path = write_capture(tmp_path / "run.h5", hidden, of)
    with xarray.open_dataset(path, engine="h5netcdf", chunks={}) as dataset:
        assert dataset["hidden"].chunks == ((256, 256, 88), (1, 1, 1), (5,))
        assert float(dataset["hidden"].mean().compute()) == pytest.approx(hidden.mean().item(), abs=1e-6)
