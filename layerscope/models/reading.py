"""Reading checkpoints: whatever goes wrong becomes one line with a remedy, and the library keeps quiet."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from layerscope.errors import ModelError, UsageError

__all__ = ["quiet", "reading"]


@contextmanager
def reading(name: str, again: str = "fetch it again") -> Iterator[None]:
    """Turn whatever a damaged or missing checkpoint makes the readers raise into one line with a remedy.

    The readers of safetensors, pickle, GGUF and tokenizers share no base class of error, so every exception is translated
    here, at this one boundary; the cause stays attached and is shown by ``--debug``.
    """
    try:
        yield
    except (ModelError, UsageError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        if isinstance(error, OSError) and ("couldn't connect" in said or "offline" in said.lower()):
            remedy = "the model hub cannot be reached; give a folder or a .gguf file, or fetch the model first"
        elif isinstance(error, OSError) and "is not a valid model identifier" in said:
            remedy = "no such model on the hub; check the spelling, or give a folder or a .gguf file"
        elif isinstance(error, OSError) and "is not a valid git identifier" in said:
            remedy = "the hub has the model but not that revision"
        else:
            remedy = f"cannot be read as a model ({type(error).__name__}: {said[:160]}); {again}"
        raise ModelError(f"{name}: {remedy}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars and advice off the terminal while it loads."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub_level = hub_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity(logging.ERROR)  # which else announces every retry of a hub that is out of reach
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()
