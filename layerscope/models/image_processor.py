"""Load the image processor that is stored with a model. Independent of images: Pillow is needed by the processor, not here."""

from pathlib import Path
from typing import Any

import transformers

from layerscope.models.loader_errors import silence_loaders, translate_loader_errors

__all__ = ["load_image_processor"]

_FILES = ("preprocessor_config.json", "processor_config.json")


def load_image_processor(folder: Path | str, name: str, options: dict[str, Any]) -> Any:
    """Load the image processor of a checkpoint.

    Parameters
    ----------
    folder
        A folder, or a hub id without its revision.
    name
        The name of the model, for messages.
    options
        ``revision`` and ``trust_remote_code`` of transformers.

    Returns
    -------
    transformers.BaseImageProcessor
        None for a checkpoint without the file of a processor.

    Raises
    ------
    ModelError
        The file cannot be read, or its processor needs a package that is not installed.
    """
    with translate_loader_errors(name, "correct its image processor"), silence_loaders():
        if not any(_is_there(folder, file, options["revision"]) for file in _FILES):
            return None
        return transformers.AutoImageProcessor.from_pretrained(folder, **options)


def _is_there(folder: Path | str, file: str, revision: str) -> bool:
    if isinstance(folder, Path):
        return (folder / file).exists()
    return bool(
        transformers.utils.cached_file(folder, file, revision=revision, _raise_exceptions_for_missing_entries=False)
    )
