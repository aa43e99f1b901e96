"""Make a tiny random module of any model type of transformers."""

from typing import Any

import torch
import transformers as tf

from layerscope.models.loader_errors import silence_loaders
from tests.families.tiny_configs import tiny_config

__all__ = ["random_module"]

# The first class that has the type; a type with an encoder and a decoder has classes of its decoder alone too.
_CLASSES = (
    tf.AutoModelForSeq2SeqLM,
    tf.AutoModelForSpeechSeq2Seq,
    tf.AutoModelForMaskedLM,
    tf.AutoModelForCausalLM,
    tf.AutoModelForImageTextToText,
    tf.AutoModel,
)


def module_class(config: tf.PreTrainedConfig) -> type[torch.nn.Module]:
    """Return the class of a language model with this configuration."""
    classes = (tf.AutoModelForImageTextToText, *_CLASSES) if "text_config" in config.sub_configs else _CLASSES
    auto: Any = next(auto for auto in classes if type(config) in auto._model_mapping)
    found = auto._model_mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def random_module(model_type: str, seed: int = 0, **settings: Any) -> torch.nn.Module:
    """Return a module of `model_type` whose weights are all random: none is zero, and every block matters."""
    config = tiny_config(model_type, **settings)
    cls: Any = module_class(config)
    config.architectures = [cls.__name__]
    with torch.random.fork_rng(), silence_loaders():
        torch.manual_seed(seed)
        module: torch.nn.Module = cls._from_config(config).eval()
        with torch.no_grad():
            for weight in module.parameters():
                if weight.numel() and weight.ndim > 1:
                    weight.normal_(std=1.2 / max(4, weight[0].numel()) ** 0.5)
                else:
                    weight.add_(torch.randn_like(weight), alpha=0.1)
    if module.can_generate():
        module.generation_config.eos_token_id = None  # a test text goes on to its full length
    return module
