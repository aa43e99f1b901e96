"""Run a model once on a few tokens and record everything: the evidence for discovery and proof."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from layerscope.errors import ModelError
from layerscope.models.devices import input_device
from layerscope.models.discovery.places import tensors_in
from layerscope.models.discovery.watch import ModuleCall, Watch, watch

__all__ = [
    "CHANGED",
    "IMAGE",
    "TEXT",
    "TOKENS",
    "Probe",
    "accepted",
    "first_tensor",
    "moved_tokens",
    "noise_images",
    "positions_of",
    "probe",
    "probe_ids",
    "refuse_other_inputs",
    "text_config",
    "trunk_inputs",
]

TEXT, IMAGE = "input_ids", "pixel_values"
"""The names of the arguments that take texts and images."""

TOKENS = 7
CHANGED = 3
"""Index of the token that differs between the two sequences of a probe, with tokens before and after it."""

_ORDER = (0, 2, 1, 4, 3, 6, 5, 7)  # no consecutive ids, which are taken for positions
_FIRST_ID = 5  # the ids below are often special
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-5, torch.bfloat16: 0.05, torch.float16: 0.01}


@dataclass(frozen=True)
class Probe:
    """One forward pass over two sequences that differ in one token, and its record.

    Attributes
    ----------
    inputs
        The arguments of the model.
    watch
        The calls of all modules.
    output
        The first tensor of the model's output.
    """

    inputs: dict[str, torch.Tensor]
    watch: Watch
    output: torch.Tensor

    @property
    def root(self) -> ModuleCall:
        """The call of the model."""
        return self.watch.calls[0]

    @property
    def reads_text(self) -> bool:
        """Whether the model was given token ids."""
        return TEXT in self.inputs

    def has_shape(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape begins with the sequences and tokens of the probe; an image has any number of tokens."""
        return shape[:2] == (2, TOKENS) if self.reads_text else shape[:1] == (2,)

    @property
    def sees_later(self) -> bool:
        """Whether the changed token reaches the output of earlier ones."""
        if not self.reads_text:
            return True
        if self.output.ndim < 3 or not self.has_shape(self.output.shape) or not self.output.isfinite().all():
            return False
        return bool(moved_tokens(*self.output)[:CHANGED].any())

    @property
    def main_input(self) -> torch.Tensor:
        """The token ids (or pixels) that were given."""
        return next(iter(self.inputs.values()))


def probe(module: nn.Module) -> Probe:
    """Run the model on two sequences of seven tokens, or two images, which differ in one token, and record all calls."""
    if getattr(module, "main_input_name", TEXT) == IMAGE and TEXT not in accepted(module):
        inputs = {IMAGE: _changed_in_one_patch(module, noise_images(module, 1))}
    else:
        inputs = {TEXT: probe_ids(module)}
        if "attention_mask" in accepted(module):
            inputs["attention_mask"] = torch.ones_like(inputs[TEXT])
    with watch(module) as seen:
        output = module(**trunk_inputs(module, inputs))
    return Probe(inputs, seen, first_tensor(output))


def refuse_other_inputs(module: nn.Module, name: str) -> None:
    """Refuse a model that cannot run on token ids or images alone.

    Raises
    ------
    ModelError
        With the argument that it requires, such as the features of a sound; or it has a part for each (CLIP).
    """
    if {TEXT, IMAGE} <= set(accepted(module)) and not _has_embedding(module):
        raise ModelError(
            f"{name}: {type(module).__name__} has one part for texts and one for images, with separate blocks.\n"
            "Load one part with its class of transformers, such as CLIPVisionModel, and pass it to ls.load_model."
        )
    parameters = list(inspect.signature(type(module).forward).parameters.values())[1:]
    required = [one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    other = next((one for one in required if one not in (TEXT, IMAGE, "attention_mask")), None)
    if other is not None:
        raise ModelError(
            f"{name}: {type(module).__name__} reads {other}, which neither texts nor images give.\n"
            "A capture takes texts: give a part of the model that reads them."
        )


def _has_embedding(module: Any) -> bool:
    try:
        return module.get_input_embeddings() is not None
    except NotImplementedError:
        return False


def trunk_inputs(module: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Return those inputs that a module takes, and that it shall use no cache."""
    names = accepted(module)
    return {name: value for name, value in inputs.items() if name in names} | (
        {"use_cache": False} if "use_cache" in names else {}
    )


def probe_ids(module: nn.Module) -> torch.Tensor:
    """Return the token ids of a probe: none is special to the configuration, and the second line differs in one token."""
    embedding: Any = module.get_input_embeddings()  # type: ignore[operator]  # a method of transformers models
    rows = int(embedding.weight.shape[0])
    special = set(_special_ids(module.config))
    plain = [one for one in (*range(_FIRST_ID, rows), *range(min(_FIRST_ID, rows))) if one not in special]
    ids = (plain or [0]) * (TOKENS + 1)
    ids = [ids[index] for index in _ORDER]
    changed = [*ids[:CHANGED], ids[TOKENS], *ids[CHANGED + 1 :]]
    return torch.tensor([ids[:TOKENS], changed[:TOKENS]], device=input_device(module))


def noise_images(module: Any, count: int) -> torch.Tensor:
    """Return images of noise, of the size that the configuration names."""
    config = module.config
    height, width = _pair(config.image_size)
    shape = (count, int(getattr(config, "num_channels", 3)), height, width)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    parameter = next(module.parameters())
    return images.to(parameter.device, parameter.dtype)


def _changed_in_one_patch(module: Any, image: torch.Tensor) -> torch.Tensor:
    """Return an image and the same with its first patch inverted."""
    images = image.repeat(2, 1, 1, 1)
    rows, columns = _pair(module.config.patch_size)
    images[1, :, :rows, :columns] = 1 - image[0, :, :rows, :columns]
    return images


def _pair(size: Any) -> tuple[int, int]:
    return (size[0], size[1]) if isinstance(size, list | tuple) else (size, size)


def positions_of(ids: torch.Tensor) -> torch.Tensor:
    """Return the positions of the tokens of unpadded sequences, counted from 0."""
    return torch.arange(ids.shape[1], device=ids.device).repeat(len(ids), 1)


def _special_ids(config: Any) -> Iterator[int]:
    for part in (config, text_config(config)):
        for name, value in vars(part).items():
            if name.endswith(("_token_id", "_token_index")):
                yield from [value] if isinstance(value, int) else value if isinstance(value, list) else []


def text_config(config: Any, stack: str | None = None) -> Any:
    """Return the part of a configuration that describes the language model, or one stack of it; in most models, the whole."""
    return config.get_text_config(**{stack or "decoder": True}) if isinstance(config, PreTrainedConfig) else config


def accepted(module: nn.Module) -> frozenset[str]:
    """Return the names of the arguments that a module takes; it hands further ones, as ``use_cache``, to its parts."""
    named, hands_on = _names(type(module).forward)
    config = getattr(module, "config", None)
    return named | {"use_cache"} if hands_on and hasattr(text_config(config), "use_cache") else named


@cache
def _names(forward: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    parameters = inspect.signature(forward).parameters.values()
    hands_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return frozenset(parameter.name for parameter in parameters), hands_on


def first_tensor(output: Any) -> torch.Tensor:
    """Return the first tensor of an output: the logits of a model, the last state of a trunk."""
    return next(iter(tensors_in(output).values()))


def moved_tokens(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return for each token of two sequences whether its features differ by more than rounding.

    Examples
    --------
    >>> one = torch.ones(3, 2)
    >>> moved_tokens(one, one + torch.tensor([[0.0], [1e-7], [0.1]])).tolist()
    [False, False, True]
    """
    before, after = one.double(), other.double()
    moved: torch.Tensor = (after - before).norm(dim=-1) > _TOLERANCE[one.dtype] * before.norm(dim=-1)
    return moved
