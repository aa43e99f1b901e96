"""What the conformance suite runs backends on, and how it compares what they leave and give."""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import DEPTH, FAMILIES, VOCABULARY, tiny_module

PAIRS = [(record.name, family) for record in BACKENDS.values() for family in FAMILIES if family not in record.refused]

# The four sequences have these lengths; sliding windows are 5 tokens long, so that they bite.
LENGTHS = (9, 4, 7, 1)
# Relative to the largest value of a state.
ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-10}
# The backends that do not run the model's own code, and how far their states may be from the hooks'.
OWN_ARITHMETIC = {"transformer-lens": ROUNDING[torch.float32]}


def make_model(family: str, dtype: torch.dtype = torch.float32, attention: str | None = None) -> Model:
    """Make a fresh model whose norms and biases are not at their initial ones and zeros."""
    module = tiny_module(family)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    if attention is not None:
        module.set_attn_implementation(attention)
    return wrap_module(module.to(dtype), name=f"tiny-{family}")


@functools.cache
def shared_model(family: str, dtype: torch.dtype = torch.float32) -> Model:
    return make_model(family, dtype)


def every_state(model: Model) -> CaptureSpec:
    return CaptureSpec(tuple(range(DEPTH + 1)), final_norm=model.final_norm is not None)


def batch(model: Model, side: str = "right") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, mask and positions of four random sequences, padded at one side."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.full((len(LENGTHS), max(LENGTHS)), model.pad_id)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        place = slice(0, length) if side == "right" else slice(max(LENGTHS) - length, None)
        ids[row, place] = torch.randint(2, VOCABULARY, (length,), generator=generator)
        mask[row, place] = 1
        positions[row, place] = torch.arange(length)
    return ids, mask, positions


def streams(states: BatchStates) -> list[torch.Tensor]:
    return states.hidden + ([] if states.final_norm is None else [states.final_norm])


def distance(one: BatchStates, other: BatchStates, mask: torch.Tensor, other_mask: torch.Tensor | None = None) -> float:
    """Return the largest difference on real tokens, relative to the largest value of its state; NaN anywhere gives NaN."""
    other_mask = mask if other_mask is None else other_mask
    pairs = zip(streams(one), streams(other), strict=True)
    off = [(a[mask == 1] - b[other_mask == 1]).abs().max() / b[other_mask == 1].abs().max() for a, b in pairs]
    return float(torch.stack(off).max())


def assert_same_bits(one: BatchStates, other: BatchStates) -> None:
    for a, b in zip(streams(one), streams(other), strict=True):
        assert torch.equal(a, b)


def run_once(backend: str, model: Model, ids: torch.Tensor, mask: torch.Tensor) -> BatchStates:
    with backend_for(backend, model).session(model, every_state(model)) as run:
        return run(TextInputs(ids, mask))


def snapshot(model: Model) -> dict[str, object]:
    """Return all that a session must leave as it was."""
    parts = dict(model.module.named_modules())
    return {
        "tensors": [(name, tensor.data_ptr(), tensor.dtype) for name, tensor in model.module.state_dict().items()],
        "values": [tensor.clone() for tensor in model.module.state_dict().values()],
        "requires_grad": [parameter.requires_grad for parameter in model.module.parameters()],
        "grad": [parameter.grad for parameter in model.module.parameters()],
        "modules": [(name, id(part), type(part)) for name, part in parts.items()],
        "training": [part.training for part in parts.values()],
        "attributes": [(name, sorted(vars(part))) for name, part in parts.items()],
        "hooks": [[len(hooks) for key, hooks in vars(part).items() if "hooks" in key] for part in parts.values()],
        "config": model.config.to_dict() | {"attention": model.config._attn_implementation},
        "random": torch.get_rng_state(),
        "filters": list(warnings.filters),
    }


def assert_as_it_was(model: Model, before: dict[str, object]) -> None:
    after = snapshot(model)
    assert "forward" not in {name for _, attributes in after["attributes"] for name in attributes}
    for key in before:
        if key in ("values", "random"):
            assert all(torch.equal(a, b) for a, b in zip(before[key], after[key], strict=True)), key
        else:
            assert before[key] == after[key], key


@contextmanager
def called_modules() -> Iterator[list[torch.nn.Module]]:
    """Collect every module that is called, of whatever copy of the model."""
    called: list[torch.nn.Module] = []
    with register_module_forward_pre_hook(lambda module, _: called.append(module)):
        yield called


def is_head(module: torch.nn.Module, model: Model) -> bool:
    head = model.module.get_output_embeddings()
    embeds = "Embedding" in type(module).__name__  # where the weight is shared with the input embedding
    owns = any(parameter is head.weight for parameter in module._parameters.values()) and not embeds
    return owns or type(module) is type(model.module) or type(module).__name__ == "UnembeddingBridge"
