"""Find the files of a checkpoint and the tensors in them, before a library reads anything.

Files are checked by the rules of `layerscope.models.folder`. Independent of model classes.
"""

import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from layerscope.errors import ModelError
from layerscope.models.folder import check_file, check_folder, content_hash, read_json

__all__ = [
    "ADAPTER",
    "Checkpoint",
    "StoredTensor",
    "folder_hash",
    "hub_commit",
    "open_folder",
    "open_hub",
    "other_weights",
]

ADAPTER = "adapter_config.json"
"""The file that names the base model of an adapter; only an adapter has it."""

_CONFIG = "config.json"
_INDEX = ".index.json"
_OBJECTS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_WEIGHTS = (*_SAFE, "pytorch_model.bin", "pytorch_model.bin.index.json")  # in the search order of transformers
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file of weights, not read yet."""

    file: Path
    shape: tuple[int, ...]
    is_integer: bool

    @property
    def size(self) -> int:
        """The number of values."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model.

    Attributes
    ----------
    folder
        The folder.
    config
        The content of ``config.json``, unchanged.
    files
        The files with the weights.
    """

    folder: Path
    config: dict[str, Any]
    files: tuple[Path, ...]

    @property
    def is_safe(self) -> bool:
        """Whether the weights are in safetensors files."""
        return self.files[0].suffix == ".safetensors"

    @property
    def quantization(self) -> str | None:
        """The quantisation method of the weights; None for plain numbers."""
        settings = self.config.get("quantization_config")
        return str(settings.get("quant_method", "an unknown method")) if isinstance(settings, dict) else None

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """All stored tensors by name; only headers are read.

        Raises
        ------
        ModelError
            Two files have different values under one name.
        """
        found: dict[str, StoredTensor] = {}
        for file in self.files:
            for name, tensor in _headers(file):
                if name in found and not torch.equal(_value(found[name].file, name), _value(file, name)):
                    raise ModelError(
                        f"{self.folder}: {found[name].file.name} and {file.name} have different values of {name}.\n"
                        "The files are not of one model: fetch the model again."
                    )
                found[name] = tensor
        return found

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor."""
        return _value(self.tensors[name].file, name)

    def read_starts(self, count: int) -> dict[str, torch.Tensor]:
        """Read the first `count` values of every tensor."""
        return {name: start for file in self.files for name, start in _starts(file, count)}


def open_folder(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder, its files checked.

    Raises
    ------
    ModelError
        The folder lacks a file, or has one that `folder.check_file` refuses.
    """
    check_folder(folder)
    if not (folder / _CONFIG).exists():
        raise ModelError(f"{folder} has no {_CONFIG}, so it is not a model folder")
    for name in _OBJECTS:
        if (folder / name).exists():
            read_json(folder / name, folder)
    config = read_json(folder / _CONFIG, folder)
    return Checkpoint(folder, config, _weights(folder, config))


def open_hub(hub_id: str, revision: str) -> Checkpoint:
    """Return the checkpoint of a model on the hub, fetched unless the cache has it, and checked.

    Raises
    ------
    ModelError
        As for `open_folder`.
    OSError
        The hub cannot be reached or does not have the model.
    """

    def fetch(name: str, required: bool = False) -> str | None:
        path: str | None = transformers.utils.cached_file(
            hub_id, name, revision=revision, _raise_exceptions_for_missing_entries=required
        )
        return path

    config = fetch(_CONFIG, required=True)
    found = next(filter(None, map(fetch, _WEIGHTS)), None)
    if found and found.endswith(_INDEX):
        for name in _shard_names(Path(found), Path(found).parent):
            fetch(name, required=True)
    return open_folder(Path(str(config)).parent)


def hub_commit(hub_id: str, revision: str) -> str:
    """Return the commit of a revision on the hub: the name of its folder in the cache."""
    return Path(transformers.utils.cached_file(hub_id, _CONFIG, revision=revision)).parent.name


def folder_hash(folder: Path) -> str:
    """Return the hash of a model folder, without loading the weights; see `folder.content_hash`."""
    return content_hash(folder, _weights(folder, read_json(folder / _CONFIG, folder)))


def other_weights(checkpoint: Checkpoint) -> list[Checkpoint]:
    """Return the complete sets of weights in the folder that the model is not loaded from."""
    folder, others = checkpoint.folder, []
    for name in _WEIGHTS:
        path = folder / name
        if path.exists() and path not in checkpoint.files:
            with suppress(ModelError):  # an incomplete set, which no library loads
                files = tuple(_shards(path, folder)) if name.endswith(_INDEX) else (path,)
                if files != checkpoint.files:
                    others.append(Checkpoint(folder, checkpoint.config, files))
    return others


def _weights(folder: Path, config: dict[str, Any]) -> tuple[Path, ...]:
    named = config.get("transformers_weights")  # the configuration may name the file of weights
    candidates = _WEIGHTS if named is None else (str(named),)
    if any(_DISTRIBUTED.fullmatch(path.name) for path in folder.iterdir()):
        raise ModelError(f"{folder} has a distributed checkpoint: load it with transformers and save it as a plain one")
    for name in candidates:
        path = folder / name
        if path.exists():
            check_file(path, folder)
            return tuple(_shards(path, folder)) if name.endswith(_INDEX) else (path,)
    others = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))[:3])
    hint = f"give one of its GGUF files instead ({others})" if others else "fetch the model again"
    raise ModelError(f"{folder} has no weights: none of {', '.join(candidates)} is there; {hint}")


def _shards(index: Path, folder: Path) -> Iterator[Path]:
    for name in _shard_names(index, folder):
        path = folder / name
        if (
            not path.is_symlink()
            and not path.exists()
            and not Path(name).is_absolute()
            and ".." not in Path(name).parts
        ):
            raise ModelError(f"{index} lists {name}, which is not in the folder: fetch that file")
        check_file(path, folder)
        yield path


def _shard_names(index: Path, folder: Path) -> list[str]:
    names = read_json(index, folder).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} has no weight_map from weights to files: fetch the model again")
    shards = sorted(set(names.values()))
    for name in shards:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise ModelError(f"{index} lists {name!r}, which is outside the model folder: such a file is not read")
    return shards


def _headers(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118  # no mapping
                tensor = content.get_slice(name)
                kind = tensor.get_dtype()
                yield name, StoredTensor(file, tuple(tensor.get_shape()), not kind.startswith(("F", "BF", "C")))
    else:
        for name, value in _unpickled(file, "meta").items():
            yield name, StoredTensor(file, tuple(value.shape), not (value.is_floating_point() or value.is_complex()))


def _value(file: Path, name: str) -> torch.Tensor:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as content:
            return content.get_tensor(name)  # type: ignore[no-any-return]
    return _unpickled(file, "cpu")[name]


def _starts(file: Path, count: int) -> Iterator[tuple[str, torch.Tensor]]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118  # no mapping
                tensor = content.get_slice(name)
                shape = tensor.get_shape()
                rows = -(-count // max(1, torch.Size(shape[1:]).numel()))
                yield name, (tensor[:rows] if shape else content.get_tensor(name)).reshape(-1)[:count]
    else:
        yield from ((name, value.reshape(-1)[:count]) for name, value in _unpickled(file, "cpu").items())


def _unpickled(file: Path, device: str) -> dict[str, torch.Tensor]:
    """Read a pickle of tensors without running code; a memory-mapped file is read on use."""
    is_zip = zipfile.is_zipfile(file)
    if is_zip:
        with zipfile.ZipFile(file) as archive:
            if any(
                entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()
            ):  # a small file may expand to any size
                raise ModelError(f"{file} is compressed, which files of weights are not: fetch the model again")
    content = torch.load(file, map_location=device, weights_only=True, mmap=is_zip)
    if not isinstance(content, dict):
        raise ModelError(f"{file} contains a {type(content).__name__}, not weights by name: fetch the model again")
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
