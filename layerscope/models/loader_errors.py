"""Translate the errors of libraries that read checkpoints into one line with a remedy, and silence their advice."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from layerscope.errors import ModelError, UsageError
from layerscope.panics import is_panic

__all__ = ["silence_loaders", "translate_loader_errors"]

_SHOWN = 160  # characters of a library's message


@contextmanager
def translate_loader_errors(name: str, again: str | None = None) -> Iterator[None]:
    """Translate every error of a library that reads a checkpoint into a ModelError.

    The readers of safetensors, pickle, GGUF and tokenizers share no base class of errors, so all exceptions are translated here.
    The cause stays attached; ``--debug`` shows it.

    Parameters
    ----------
    name
        The name of the model.
    again
        The remedy for content that cannot be read. None means to fetch the model again.
    """
    try:
        yield
    except (ModelError, UsageError):
        raise
    except Exception as error:
        raise ModelError(f"{name}: {_explained(error, again)}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ModelError(f"{name}: {_explained(error, again)}") from error


def _explained(error: BaseException, again: str | None) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            where = f" ({error.filename})" if error.filename else ""
            return f"a file cannot be read: {os.strerror(error.errno)}{where}. Check the file and its disk."
        if "couldn't connect" in said or "offline" in said.lower():
            return (
                "no folder has this name, and the model hub cannot be reached; give a folder or a .gguf file, "
                "or fetch the model first"
            )
        if "is not a valid model identifier" in said:
            return "no such model on the hub; check the spelling, or give a folder or a .gguf file"
        if "is not a valid git identifier" in said:
            return "the hub has the model but not that revision"
    if isinstance(error, MemoryError):
        return "the memory of this machine is too small for the model"
    usual = "install what it names" if isinstance(error, ImportError) else "fetch it again"
    return f"cannot be read as a model ({type(error).__name__}: {said[:_SHOWN]}); {again or usual}"


@contextmanager
def silence_loaders() -> Iterator[None]:
    """Hide progress bars and advice of the libraries while they load."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub_level = hub_logging.get_verbosity()
    accelerate = logging.getLogger("accelerate")
    accelerate_level = accelerate.level
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity(logging.ERROR)  # otherwise it announces every retry of a hub that is out of reach
    accelerate.setLevel(logging.ERROR)  # the place of weights, logged for every spread model
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        accelerate.setLevel(accelerate_level)
        if bars:
            transformers_logging.enable_progress_bar()
