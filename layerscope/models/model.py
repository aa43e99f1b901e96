"""The loaded model: the module, its tokenizer, and its parts. Independent of texts, files and measures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.context_length import context_length, learned_positions
from layerscope.models.devices import device_names, input_device
from layerscope.models.discovery.architecture import Architecture
from layerscope.models.discovery.probe import TEXT, accepted, noise_images, text_config
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.discovery.taps import blocks_of
from layerscope.models.encoder_decoder import Stack
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence

__all__ = ["NO_TOKENIZER", "Model"]

_FIRST_ID = 5  # the ids below are often special

NO_TOKENIZER = "there is no tokenizer, so the model takes token ids only, no texts; give load_model(…, tokenizer=…)"
"""The warning for a model without a tokenizer."""


@dataclass(frozen=True)
class Model:
    """A loaded Hugging Face model whose parts have been found and checked.

    Attributes
    ----------
    module
        The Hugging Face module, untouched.
    tokenizer
        Its tokenizer; None where only token ids are used.
    name
        Hub id (with its ``@revision`` if given), or the name of the folder or file.
    architecture
        Where its parts are, as found and proved.
    fingerprint
        Returns the name of the exact weights: a hub commit or the hash of the files, and a checksum if they have been changed in
        memory; see `layerscope.models.weight_identity`. It reads files and weights, so only results call it.
    length_dependence
        The lengths that may share a batch, measured at load.
    stack
        The part of an encoder-decoder that the module is; None for other models.
    image_processor
        Loads the image processor of a model that reads images; it returns None where there is none.
    """

    module: nn.Module
    tokenizer: Any
    name: str
    architecture: Architecture
    fingerprint: Callable[[], str] = field(default=lambda: "", repr=False)
    length_dependence: LengthDependence = INDEPENDENT
    stack: Stack | None = None
    image_processor: Callable[[], Any] = field(default=lambda: None, repr=False)

    @cached_property
    def trunk(self) -> nn.Module:
        """The model without its head; running it computes no logits."""
        return self.module.get_submodule(self.architecture.trunk)

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The blocks in running order."""
        return blocks_of(self.module, self.architecture)

    @cached_property
    def final_norm(self) -> nn.Module | None:
        """The norm after the last block; None for models without one."""
        path = self.architecture.final_norm
        return None if path is None else self.trunk.get_submodule(path)

    @property
    def stream(self) -> StreamPlaces:
        """Where the stream is in the arguments and outputs of the blocks."""
        return self.architecture.stream

    @property
    def reads_text(self) -> bool:
        """Whether the model reads token ids; others read images."""
        return self.architecture.main_input == TEXT

    @property
    def config(self) -> Any:
        """The Hugging Face configuration."""
        return self.module.config

    @property
    def text_config(self) -> Any:
        """The part of the configuration that describes the language model; in most models, the whole."""
        return text_config(self.config, self.stack)

    @property
    def depth(self) -> int:
        """T, the number of blocks."""
        return len(self.blocks)

    @property
    def parameters(self) -> int:
        """Number of parameters; weights shared by two parts count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def width(self) -> int:
        """Number of features of the residual stream."""
        return int(self.text_config.hidden_size)

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, the rows of the embedding."""
        module: Any = self.module
        return int(module.get_input_embeddings().weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the computation: that of the first weight with a floating point."""
        floats = (weight.dtype for weight in self.module.parameters() if weight.is_floating_point())
        return next(floats, torch.float32)

    @property
    def device(self) -> torch.device:
        """The device of the inputs. A model that is spread over devices moves the stream itself, from block to block."""
        return input_device(self.module)

    @property
    def devices(self) -> str:
        """The devices of the weights, as results record them."""
        return device_names(self.module)

    def require_tokenizer(self) -> None:
        """Refuse a model that cannot read texts.

        Raises
        ------
        ModelError
            The model has no tokenizer.
        """
        if self.tokenizer is None:
            raise ModelError(f"{self.name}: {NO_TOKENIZER}")

    @property
    def context(self) -> int | None:
        """The longest sequence the model is made for, in tokens; None without a limit (ALiBi)."""
        if self.architecture.positions is not None:
            return self.max_positions
        return context_length(self.text_config)

    @property
    def max_positions(self) -> int | None:
        """Number of learned positions, the longest sequence that can run; None for rotary positions and ALiBi."""
        return learned_positions(self.trunk, self.architecture)

    @property
    def pad_id(self) -> int:
        """The id of padding. It is masked, so any valid id works."""
        for pad in (
            getattr(self.text_config, "pad_token_id", None),
            self.tokenizer.pad_token_id if self.tokenizer else None,
        ):
            if isinstance(pad, int) and 0 <= pad < self.vocabulary_size:
                return pad
        return 0

    def trial_ids(self, sequences: int, tokens: int) -> torch.Tensor:
        """Return ids of short texts, to try the model on: ``[sequence, position]``."""
        count = sequences * tokens
        return torch.arange(_FIRST_ID, _FIRST_ID + count).remainder(self.vocabulary_size).reshape(sequences, tokens)

    def trial_inputs(self, sequences: int, tokens: int) -> dict[str, Any]:
        """Return arguments of the trunk to try the model on: short texts, or images of noise with as many tokens as they have."""
        if not self.reads_text:
            return self.image_inputs(noise_images(self.module, sequences))
        ids = self.trial_ids(sequences, tokens)
        return self.inputs(ids, torch.ones_like(ids))

    def require_text(self) -> None:
        """Refuse a model that reads no texts.

        Raises
        ------
        ModelError
            The model reads images.
        """
        if not self.reads_text:
            raise ModelError(
                f"{self.name}: {self.architecture.family} reads images ({self.architecture.main_input}), no texts.\n"
                "Capture it with --images FOLDER, or run its module on images yourself, under ls.scheduled(…) too."
            )

    def require_images(self) -> None:
        """Refuse a model that reads no images.

        Raises
        ------
        ModelError
            The model reads texts.
        """
        if self.reads_text:
            raise ModelError(
                f"{self.name}: {self.architecture.family} reads texts ({self.architecture.main_input}), no images: "
                "give --texts instead of --images"
            )

    def refuse_unknown_ids(self, input_ids: torch.Tensor) -> None:
        """Refuse ids without a row in the embedding.

        Raises
        ------
        ModelError
            An id is too high: the tokenizer has been changed since the load, or the text contains a special token that the model
            does not have.
        """
        highest = int(input_ids.max()) if input_ids.numel() else 0
        if highest >= self.vocabulary_size:
            raise ModelError(
                f"{self.name}: the tokenizer gave the id {highest}, and the model's embedding has {self.vocabulary_size} rows: "
                "give the model its own tokenizer, and texts without special tokens that the model does not have"
            )

    def inputs(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
    ) -> dict[str, Any]:
        """Return the arguments of the trunk for one padded batch, without a cache.

        Raises
        ------
        ModelError
            An id has no row in the embedding, or the model reads no texts.
        """
        self.require_text()
        self.refuse_unknown_ids(input_ids)
        arguments: dict[str, Any] = {"input_ids": input_ids.to(self.device)}
        taken = accepted(self.trunk)
        if "attention_mask" in taken:
            arguments["attention_mask"] = attention_mask.to(self.device)
        if position_ids is not None and self.architecture.position_ids:
            arguments["position_ids"] = position_ids.to(self.device)
        if "use_cache" in taken:
            arguments["use_cache"] = False
        return arguments

    def image_inputs(self, pixels: torch.Tensor) -> dict[str, Any]:
        """Return the arguments of the trunk for a batch of images: their pixels, in the type of the model.

        Raises
        ------
        ModelError
            The model reads no images.
        """
        self.require_images()
        return {self.architecture.main_input: pixels.to(self.device, self.dtype)}
