"""Match the tensors of a GGUF file with the weights of its model. A file with a fault is refused."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
import transformers
from gguf import MODEL_ARCH_NAMES, TensorNameMap, get_tensor_name_map

from layerscope.models.gguf import tensor_layouts
from layerscope.models.gguf.configuration import family_of, has
from layerscope.models.gguf.families import GGUFFamily
from layerscope.models.gguf.file import GGUFFile, count_and_name

__all__ = ["Match", "match"]


@dataclass(frozen=True)
class Match:
    """The tensor of the file for each weight of the model.

    Attributes
    ----------
    faults
        Descriptions of what does not match; empty for a file that can be converted.
    """

    file: GGUFFile
    config: Any
    shapes: dict[str, tuple[int, ...]]
    tensors: dict[str, str]
    faults: list[str]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the model in float32, by their names in transformers."""
        return {weight: torch.from_numpy(self._values(weight)) for weight in self.shapes}

    def _values(self, weight: str) -> np.ndarray:
        tensor = self.tensors[weight]
        if tensor not in self.file.tensors:  # a bias that no block has
            return np.zeros(self.shapes[weight], np.float32)
        stored = self.file.values(tensor)
        change = _change(family_of(self.file), tensor)
        return np.require(change(stored, self.config) if change else stored, np.float32, ["C", "W"])


def match(file: GGUFFile, config: transformers.PreTrainedConfig) -> Match:
    """Match the tensors of a file with the weights of its model; values are not read."""
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
    tied = set(module._tied_weights_keys or {}) if config.tie_word_embeddings else set()
    shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items() if name not in tied}
    config.architectures = [type(module).__name__]
    known = get_tensor_name_map(_architectures()[file.architecture], config.num_hidden_layers)
    tensors = {weight: _tensor(weight, module.base_model_prefix, known) for weight in shapes}
    faults = [*_missing(file, tensors), *_misshapen(file, shapes, tensors), *_left(file, config, tensors)]
    return Match(file, config, shapes, tensors, faults)


def _architectures() -> dict[str, Any]:
    return {name: architecture for architecture, name in MODEL_ARCH_NAMES.items()}


def _tensor(weight: str, prefix: str, known: TensorNameMap) -> str:
    """Return the name of a weight in GGUF, where some models are known by the names of their trunk."""
    module, _, kind = weight.rpartition(".")
    name = known.get_name(module) or known.get_name(module.removeprefix(f"{prefix}."))
    return f"{name}.{kind}"


def _missing(file: GGUFFile, tensors: dict[str, str]) -> list[str]:
    absent = [tensor for tensor in tensors.values() if tensor not in file.tensors and not _is_zero(file, tensor)]
    return [count_and_name(absent, "tensor", "missing")] if absent else []


def _is_zero(file: GGUFFile, tensor: str) -> bool:
    """Return whether a tensor is a bias that no block has, in a family where it is optional."""
    kind = tensor.split(".", 2)[-1]
    return kind in family_of(file).zero and not has(file, kind)


def _misshapen(file: GGUFFile, shapes: dict[str, tuple[int, ...]], tensors: dict[str, str]) -> list[str]:
    stored = {weight: _stored(file, tensor) for weight, tensor in tensors.items() if tensor in file.tensors}
    wrong = [
        f"{tensors[weight]} {shape} for {shapes[weight]}" for weight, shape in stored.items() if shape != shapes[weight]
    ]
    return [count_and_name(wrong, "tensor", "of the wrong shape")] if wrong else []


def _stored(file: GGUFFile, tensor: str) -> tuple[int, ...]:
    """Return the shape of a tensor in the layout of transformers."""
    turned = _change(family_of(file), tensor) is tensor_layouts.transpose
    return file.shape(tensor)[::-1] if turned else file.shape(tensor)


def _left(file: GGUFFile, config: Any, tensors: dict[str, str]) -> list[str]:
    left = set(file.tensors) - set(tensors.values()) - file.tensors_read
    return [count_and_name(left, "tensor", f"without a place in {config.model_type}")] if left else []


def _change(family: GGUFFamily, tensor: str) -> Any:
    kind = tensor.split(".", 2)[-1] if tensor.startswith("blk.") else tensor
    return next((change for pattern, change in family.changes.items() if fnmatchcase(kind, pattern)), None)
