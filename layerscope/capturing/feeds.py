"""Feed a capture: its sequences in order, and the inputs of each batch.

`TextFeed` and `ImageFeed` are the two forms. The rest of a capture does not distinguish them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from layerscope.capturing.batch_rows import BatchRows
from layerscope.capturing.hooks import HooksBackend
from layerscope.capturing.inputs import ImageInputs, Inputs, TextInputs
from layerscope.capturing.options import CaptureOptions
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import CaptureError, ModelError
from layerscope.images.folder import ImageFolder
from layerscope.models.model import Model
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import pad_batch
from layerscope.texts.sources import TextSource
from layerscope.texts.tokens import TokenizedSequence, tokenize

__all__ = ["Feed", "ImageFeed", "SequenceStream", "TextFeed", "feed_of"]

_NO_TOKEN = -1
"""The token id of a patch."""


@runtime_checkable
class SequenceStream(Protocol):
    """The sequences of a capture, read once; counts those that are not as given."""

    truncated: int
    skipped: int
    doubled: int

    def __iter__(self) -> Iterator[TokenizedSequence]: ...


@runtime_checkable
class Feed(Protocol):
    """The source of the batches of a capture."""

    @property
    def facts(self) -> dict[str, str]:
        """What the provenance records of it."""
        ...

    def stream(self) -> SequenceStream:
        """Return the sequences."""
        ...

    def inputs(self, batch: BatchRows, index: SequenceIndex) -> Inputs:
        """Return what the model reads in a batch."""
        ...

    def trial(self, lines: int, tokens: int) -> tuple[Inputs, int]:
        """Return a batch to try the memory with, and its tokens a line: as many as given, if the model takes any number."""
        ...


def feed_of(model: Model, source: TextSource | ImageFolder, options: CaptureOptions, max_length: int | None) -> Feed:
    """Return the feed for a source.

    Raises
    ------
    ModelError
        The model does not read what the source has.
    """
    if isinstance(source, ImageFolder):
        return ImageFeed.of(model, source)
    model.require_text()
    return TextFeed(model, source, options, max_length)


@dataclass(frozen=True)
class TextFeed:
    """Texts, which a tokenizer splits into tokens."""

    model: Model
    source: TextSource
    options: CaptureOptions
    max_length: int | None

    @property
    def facts(self) -> dict[str, str]:
        """What the provenance records of it: nothing."""
        return {}

    def stream(self) -> SequenceStream:
        """Return the sequences."""
        return tokenize(
            self.source,
            self.model.tokenizer,
            self.max_length,
            spans=self.options.spans,
            vocabulary_size=self.model.vocabulary_size,
            continued=self.options.generate > 0,
        )

    def inputs(self, batch: BatchRows, index: SequenceIndex) -> Inputs:
        """Return the token ids of a batch, padded."""
        return TextInputs(*pad_batch(batch.token_ids, self.model.pad_id, "right"))

    def trial(self, lines: int, tokens: int) -> tuple[Inputs, int]:
        """Return a batch of some texts of some tokens."""
        ids = self.model.trial_ids(lines, tokens)
        return TextInputs(ids, torch.ones_like(ids)), tokens


@dataclass(frozen=True)
class ImageFeed:
    """Images, of which a token is a patch; the pixels of one batch at a time are in memory.

    Attributes
    ----------
    model, folder
        The model and the images.
    processor
        The image processor of the model.
    """

    model: Model
    folder: ImageFolder
    processor: Any

    @classmethod
    def of(cls, model: Model, folder: ImageFolder) -> "ImageFeed":
        """Return the feed for a model.

        Raises
        ------
        ModelError
            The model reads no images, or has no image processor.
        """
        model.require_images()
        processor = model.image_processor()
        if processor is None:
            raise ModelError(
                f"{model.name}: no image processor is stored with the model (preprocessor_config.json): fetch it, "
                "or give load_model(…, image_processor=…)"
            )
        return cls(model, folder, processor)

    @property
    def facts(self) -> dict[str, str]:
        """What the provenance records of it: the class of the processor, which may depend on the packages installed."""
        return {"image_processor": type(self.processor).__name__}

    def stream(self) -> SequenceStream:
        """Return the sequences."""
        return _Images(self.folder, self._tokens)

    def inputs(self, batch: BatchRows, index: SequenceIndex) -> Inputs:
        """Return the pixels of a batch."""
        return self._read([index.sequence_id(int(sequence)) for sequence in batch.sequences])

    def trial(self, lines: int, tokens: int) -> tuple[Inputs, int]:
        """Return a batch of some copies of the first image."""
        return ImageInputs(self._first.pixels.expand(lines, -1, -1, -1)), self._tokens

    @cached_property
    def _first(self) -> ImageInputs:
        return ImageInputs(self._pixels(next(iter(self.folder)).name)[None])

    @cached_property
    def _tokens(self) -> int:
        """Number of tokens of an image: the model runs on the first one."""
        counts: list[int] = []
        with HooksBackend().session(
            self.model, CaptureSpec((0,)), lambda _, stream: counts.append(stream.shape[1])
        ) as run:
            try:
                run(self._first)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                size = " x ".join(map(str, self._first.pixels.shape[1:]))
                raise ModelError(
                    f"{self.model.name}: the model cannot read what its image processor makes ({size} pixels): "
                    f"{' '.join(str(error).split())[:160]}\ngive load_model(…, image_processor=…) one that fits the model"
                ) from error
        return counts[0]

    def _read(self, names: list[str]) -> ImageInputs:
        pixels = [self._pixels(name) for name in names]
        for name, one in zip(names, pixels, strict=True):
            if one.shape != self._first.pixels.shape[1:]:
                raise CaptureError(
                    f"{self.folder.name}: the image processor makes images of several sizes ({name}): "
                    "a capture needs one size; crop or resize the images to one size"
                )
        return ImageInputs(torch.stack(pixels))

    def _pixels(self, name: str) -> torch.Tensor:
        picture = self.folder.picture(name, int(getattr(self.model.config, "num_channels", 3)))
        try:
            made = self.processor(picture, return_tensors="pt")["pixel_values"]
        except Exception as error:  # a processor may be code of a checkpoint, and raise any error
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"{self.model.name}: its image processor fails on {name}: {reason}") from error
        return torch.as_tensor(made)[0]


class _Images:
    """The images as sequences of patches."""

    def __init__(self, folder: ImageFolder, tokens: int) -> None:
        self.truncated = self.skipped = self.doubled = 0
        self._folder = folder
        self._patches = np.full(tokens, _NO_TOKEN, np.int32)

    def __iter__(self) -> Iterator[TokenizedSequence]:
        for image in self._folder:
            yield TokenizedSequence(image.name, self._patches, False, metadata=image.facts)
