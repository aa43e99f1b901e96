"""The inputs of a model in one batch: padded texts, or images.

A backend passes `Inputs.arguments` to the trunk.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from layerscope.models.model import Model

__all__ = ["ImageInputs", "Inputs", "TextInputs"]


@runtime_checkable
class Inputs(Protocol):
    """One batch, ready to run."""

    @property
    def lines(self) -> int:
        """Number of sequences."""
        ...

    def arguments(self, model: Model) -> dict[str, Any]:
        """Return the arguments of the trunk of a model."""
        ...


@dataclass(frozen=True)
class TextInputs:
    """A padded batch of texts; without `position_ids`, positions count from 0."""

    input_ids: Int[Tensor, "sequence position"]
    attention_mask: Int[Tensor, "sequence position"]
    position_ids: Int[Tensor, "sequence position"] | None = None

    @property
    def lines(self) -> int:
        """Number of sequences."""
        return len(self.input_ids)

    def arguments(self, model: Model) -> dict[str, Any]:
        """Return the arguments of the trunk of a model."""
        return model.inputs(self.input_ids, self.attention_mask, self.position_ids)


@dataclass(frozen=True)
class ImageInputs:
    """A batch of images, as their image processor has prepared them."""

    pixels: Float[Tensor, "image channel row column"]

    @property
    def lines(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def arguments(self, model: Model) -> dict[str, Any]:
        """Return the arguments of the trunk of a model."""
        return model.image_inputs(self.pixels)
