"""Find the adapter of PEFT in a folder or on the hub and the model that it is for, and put it into that model.

An adapter folder holds a few weights and ``adapter_config.json``, which names the base model. Every weight of the adapter must
find its place in the base model, and every part of it must get its weights.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.checkpoint import ADAPTER, Checkpoint
from layerscope.models.folder import check_folder, content_hash, read_json
from layerscope.models.loader_errors import translate_loader_errors

__all__ = ["Adapter", "find_adapter"]

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")  # in the search order of PEFT
_BASE, _REVISION = "base_model_name_or_path", "revision"
_HEADS = (".classifier.", ".score.", ".lm_head.")  # of other tasks; no capture runs them
_WHOLE = ("", "base_layer.", "modules_to_save.")  # where PEFT keeps a whole embedding, by the path of the embedding
_SHOWN = 3


@dataclass(frozen=True)
class Adapter:
    """The files of an adapter, and the model that it is for.

    Attributes
    ----------
    folder
        The folder that holds the files.
    base
        The source of the base model: a folder, a ``.gguf`` file, or a hub id with its revision.
    weights
        The file of weights.
    """

    folder: Path
    base: str
    weights: Path

    def fingerprint(self) -> str:
        """Return the hash of the adapter alone."""
        return f"adapter {content_hash(self.folder, [self.weights])}"

    def put_into(self, module: nn.Module, name: str) -> nn.Module:
        """Return a model with the adapter inside it.

        Raises
        ------
        ModelError
            PEFT is missing or cannot read the adapter, or the adapter does not fit the model.
        """
        unfit = f"the adapter does not fit its base model {self.base}: give the one that it was made for"
        with translate_loader_errors(name, "install it (pip install 'layerscope[peft]')"):
            import peft
        with translate_loader_errors(name, unfit), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the lines below check the report of PEFT
            config: Any = peft.PeftConfig.from_pretrained(str(self.folder))
            config.inference_mode = True
            self._require_vocabulary(name, module)
            kind = peft.MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, peft.PeftModel)
            adapted: Any = kind(module, config)
            renamed = {} if config.is_prompt_learning else getattr(module, "_checkpoint_conversion_mapping", {})
            found: Any = adapted.load_adapter(str(self.folder), "default", torch_device="cpu", key_mapping=renamed)
            wanted = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
        stored = set(Checkpoint(self.folder, {}, (self.weights,)).tensors)
        if not config.is_prompt_learning:  # which runs outside the model, and is refused there
            self._require_all(name, set(found.unexpected_keys), set() if renamed else wanted - stored)
        whole: nn.Module = adapted
        return whole

    def _require_vocabulary(self, name: str, module: Any) -> None:
        """Refuse an adapter that comes with an embedding of another size; what new rows of the head would be is not known."""
        embedding = module.get_input_embeddings()
        path = next(path for path, part in module.named_modules() if part is embedding)
        rows, ends = embedding.weight.shape[0], tuple(f"{path}.{inner}weight" for inner in _WHOLE)
        for key, stored in Checkpoint(self.folder, {}, (self.weights,)).tensors.items():
            if key.endswith(ends) and stored.shape[0] != rows:
                raise ModelError(
                    f"{name}: the adapter has a vocabulary of {stored.shape[0]}, and its base model {self.base} of {rows}.\n"
                    "Resize the embedding of the base model, load the adapter with PEFT, and give load_model(peft_model)."
                )

    def _require_all(self, name: str, unused: set[str], missing: set[str]) -> None:
        heads = {key for key in unused | missing if any(head in f".{key}" for head in _HEADS)}
        for what, keys in (("no place for", unused - heads), ("weights missing for", missing - heads)):
            if keys:
                shown = ", ".join(sorted(keys)[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
                raise ModelError(
                    f"{name}: the adapter does not fit its base model {self.base}: {what} {len(keys)} tensors ({shown}).\n"
                    "Give the model that it was made for, or fetch the adapter again."
                )
        if heads:
            warnings.warn(f"{name}: {len(heads)} weights of a head of the adapter are not used", stacklevel=2)


def find_adapter(folder: Path | str, revision: str) -> Adapter | None:
    """Return the adapter in a folder or on the hub; None for a complete model.

    Parameters
    ----------
    folder
        A folder, or a hub id without its revision.
    revision
        The revision of a hub id.

    Raises
    ------
    ModelError
        The adapter has no weights, or its base model is not named or is not there.
    """
    config = _config(folder, revision)
    if config is None:
        return None
    check_folder(config.parent)
    settings = read_json(config, config.parent)
    if settings.get("megatron_config") is not None:  # PEFT would import the module that it names
        raise ModelError(f"{config} is of an adapter for Megatron: save it as one for transformers")
    for weights in _WEIGHTS:
        path = config.parent / weights if isinstance(folder, Path) else _fetched(folder, weights, revision)
        if path is not None and path.exists():
            return Adapter(config.parent, _base(config, settings), path)
    raise ModelError(f"{config.parent} has an adapter without weights: none of {', '.join(_WEIGHTS)} is there")


def _config(folder: Path | str, revision: str) -> Path | None:
    if not isinstance(folder, Path):
        return _fetched(folder, ADAPTER, revision)
    if (folder / ADAPTER).exists() or not folder.is_dir() or (folder / "config.json").exists():
        return folder / ADAPTER if (folder / ADAPTER).exists() else None
    several = sorted(inner.parent.name for inner in folder.glob(f"*/{ADAPTER}"))
    if several:
        raise ModelError(
            f"{folder} is a folder of adapters ({', '.join(several)}): give one of them, as {folder / several[0]}"
        )
    return None


def _fetched(hub_id: str, file: str, revision: str) -> Path | None:
    path = transformers.utils.cached_file(
        hub_id,
        file,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return path and Path(path)


def _base(config: Path, settings: dict[str, Any]) -> str:
    """Return the source of the base model, which is sought next to the adapter, in the working folder and on the hub."""
    named = settings.get(_BASE)
    if not isinstance(named, str) or not named.strip():
        raise ModelError(
            f"{config} names no base model ({_BASE}).\n"
            "Write its folder or hub id there, or load both with PEFT and give the model: load_model(peft_model)."
        )
    for start in (config.parent, Path()):
        if (start / named).exists():
            base = start / named
            if base.is_dir() and (base / ADAPTER).exists():
                raise ModelError(
                    f"{config} names {named} as its base model, which is an adapter itself: merge that one first"
                )
            return str(base)
    if named.count("/") > 1 or named.startswith((".", "/", "~")):
        raise ModelError(
            f"{config} names the base model {named}, and there is no such folder.\n"
            f"Put the base model there, or correct {_BASE}."
        )
    revision = settings.get(_REVISION)
    return f"{named}@{revision}" if isinstance(revision, str) and revision else named
