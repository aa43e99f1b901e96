"""Load a model by name or take one that is in memory, and check it.

The parts of every model are found and proved (`layerscope.models.proof`) before it is returned. Public functions that take a
model take all that `as_model` takes.
"""

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

import torch
from torch import nn

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.models.attention import Attention
from layerscope.models.devices import DeviceMap
from layerscope.models.discovery.cached import probe_cached
from layerscope.models.discovery.discover import discover
from layerscope.models.discovery.probe import TEXT, probe, refuse_other_inputs
from layerscope.models.encoder_decoder import Stack, stack_name, stack_of
from layerscope.models.eval_mode import eval_mode
from layerscope.models.identity import identify
from layerscope.models.in_memory import name_in_memory, plain_model
from layerscope.models.length_probe import measure_length_dependence
from layerscope.models.loader_errors import translate_loader_errors
from layerscope.models.model import NO_TOKENIZER, Model
from layerscope.models.module_check import check_module, float_types
from layerscope.models.proof.evidence import Evidence
from layerscope.models.proof.prove import prove
from layerscope.models.stored_model import DTYPES, Placement, read_model
from layerscope.models.token_ids import TokenizerLike, check_tokenizer
from layerscope.models.weight_identity import WeightIdentity

__all__ = ["DTYPES", "ModelLike", "as_model", "load_model", "wrap_module"]

_SOURCES = "a hub id, a folder, a .gguf file, or a model of transformers in memory (of a pipeline, its .model)"
_IMAGE_PROCESSOR = "an image processor of transformers (AutoImageProcessor.from_pretrained(…)) or None"
_TOKENIZER = "a tokenizer of transformers (AutoTokenizer.from_pretrained(…)) or None"
ModelLike = Annotated[Model | str | os.PathLike[str] | nn.Module, f"a Model, {_SOURCES}"]
"""What public functions take as a model."""


@checked
def load_model(
    source: Annotated[str | os.PathLike[str] | nn.Module, _SOURCES],
    *,
    tokenizer: Annotated[TokenizerLike | None, _TOKENIZER] = None,
    image_processor: Annotated[Callable[..., Any] | None, _IMAGE_PROCESSOR] = None,
    name: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    attn: Attention | None = None,
    stack: Stack | None = None,
    trust_remote_code: bool = False,
) -> Model:
    """Load a model or take one that is in memory, find its parts and check them.

    Parameters
    ----------
    source
        A hub id (``"EleutherAI/pythia-70m"``, ``"EleutherAI/pythia-70m@step1000"``), a folder, a ``.gguf`` file, or a model of
        transformers in memory. Folders and hub ids may be of an adapter of PEFT, which names its base model, and models may have
        one (``PeftModel``) or be compiled (``torch.compile``); a compiled model runs as it was before. A GGUF file is converted
        once and kept under the cache by the hash of its content.
    tokenizer
        The tokenizer, instead of the stored one. A model in memory comes without a tokenizer.
    image_processor
        The image processor of a model that reads images, instead of the stored one. A model in memory comes without one.
    name
        The name of the model in results, instead of that of its folder, file, hub id or class.
    dtype
        The dtype of the computation: ``"float32"`` (the default), ``"bfloat16"`` or ``"float16"``, independent of the checkpoint.
        A model in memory keeps its own.
    device
        A torch device, such as ``"cpu"`` (the default) or ``"cuda:0"``. A model in memory stays where it is.
    device_map
        How accelerate spreads the model over several devices, instead of `device`: ``"auto"``, or the device of each part by its
        name, ``"disk"`` among them. The states are those on one device, up to rounding.
    attn
        How attention is computed: ``"sdpa"``, ``"flash"`` (needs flash-attn and half precision) or ``"eager"``; by default as
        the model chooses. They differ in rounding.
    stack
        The part of an encoder-decoder to take: ``"encoder"``, or ``"decoder"``, which then reads texts as a language model,
        without the states of the encoder. Results name it after the model (``t5-small:encoder``).
    trust_remote_code
        Run the modelling code of the checkpoint.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        The dtype or a device is unknown, or an option does not go with another one or with a model in memory.
    ModelError
        The model is missing or damaged, or its blocks cannot be found or proved.

    Warns
    -----
    UserWarning
        The model has no tokenizer, so that it takes token ids only.

    Examples
    --------
    >>> import layerscope as ls
    >>> ls.load_model("no/such/folder.gguf")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: no/such/folder.gguf: there is no such file, nor a folder no/such
    """
    if isinstance(source, nn.Module):
        _refuse_options(dtype=dtype, device=device, device_map=device_map, attn=attn)
        processor = _always(image_processor)
        model = wrap_module(source, tokenizer, name=name or name_in_memory(source), stack=stack)
    else:
        placement = Placement.of(dtype, device, device_map, attn)
        stored = read_model(identify(source), placement, trust_remote_code)
        module = stored.module
        own = stored.tokenizer() if tokenizer is None and _reads_text(module, stack) else tokenizer
        processor = cache(stored.image_processor) if image_processor is None else _always(image_processor)
        model = wrap_module(module, own, name=name or stored.name, fingerprint=stored.fingerprint, stack=stack)
    if model.tokenizer is None and model.reads_text:
        warnings.warn(f"{model.name}: {NO_TOKENIZER}", stacklevel=3)
    return replace(model, image_processor=processor)


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def _reads_text(module: Any, stack: Stack | None) -> bool:
    """Return whether a model reads texts; the decoder of a model of speech does, too."""
    return bool(module.main_input_name == TEXT) or stack == "decoder"


def as_model(
    source: ModelLike,
    *,
    dtype: str | None = None,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    attn: Attention | None = None,
    stack: Stack | None = None,
) -> Model:
    """Return the model that a public function was given, loaded unless it is.

    Raises
    ------
    UsageError
        An option is given with a model that is loaded.
    ModelError
        As for `load_model`.
    """
    if isinstance(source, Model):
        _refuse_options(dtype=dtype, device=device, device_map=device_map, attn=attn, stack=stack)
        return source
    with warnings.catch_warnings():
        # Texts need a tokenizer, token ids do not.
        warnings.filterwarnings("ignore", message=f".*{re.escape(NO_TOKENIZER)}")
        return load_model(source, dtype=dtype, device=device, device_map=device_map, attn=attn, stack=stack)


def _refuse_options(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"{name} is set when a model is loaded by name, and this one is in memory: load it so, or move it before"
            )


@checked
def wrap_module(
    module: nn.Module,
    tokenizer: TokenizerLike | None = None,
    *,
    name: str,
    fingerprint: Callable[[], str] = str,
    stack: Stack | None = None,
) -> Model:
    """Make a `Model` from a Hugging Face module that is already in memory, and check it.

    Parameters
    ----------
    module
        The module; see `layerscope.models.in_memory`. It is not changed; training mode stays.
    tokenizer
        Its tokenizer; None where only token ids are used.
    name
        The name of the model in results.
    fingerprint
        Returns the name of the weights in results, until they are changed. Without a name, results carry a checksum
        of the values; see `layerscope.models.weight_identity`.
    stack
        The part of an encoder-decoder to take.

    Raises
    ------
    ModelError
        The blocks cannot be found or proved, or a part of the module is compiled.

    Examples
    --------
    >>> import transformers
    >>> config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, bos_token_id=0, eos_token_id=0)
    >>> model = wrap_module(transformers.AutoModelForCausalLM.from_config(config), name="tiny")
    >>> model.depth, model.width
    (2, 8)
    """
    plain: Any = stack_of(plain_model(module, name), stack, name)
    check_module(plain, name)
    model = _proved(plain, tokenizer, stack_name(name, stack), stack)
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.vocabulary_size, name)
    identity = WeightIdentity(plain, fingerprint)
    return replace(model, fingerprint=identity, length_dependence=measure_length_dependence(model))


def _remedy(module: nn.Module, stack: Stack | None) -> str:
    """Return what to do about a module whose forward pass fails."""
    types = sorted(float_types(module))
    if len(types) > 1 or any(name.startswith("float8") for name in types):
        return f"its weights are {' and '.join(types)}; give all one type that it computes in, as module.float() does"
    if stack == "decoder":
        return "a decoder that needs the states of its encoder cannot be taken alone"
    return "correct its configuration"


def _proved(module: Any, tokenizer: TokenizerLike | None, name: str, stack: Stack | None) -> Model:
    """Find the parts of a module by running it on a few tokens, and prove them."""
    with eval_mode(module), torch.no_grad():
        with translate_loader_errors(name, f"a forward pass fails: {_remedy(module, stack)}"):
            refuse_other_inputs(module, name)
            seen = probe(module)
            cached = probe_cached(module, seen)
        model = Model(module, tokenizer, name, discover(module, seen, cached, name), stack=stack)
        prove(Evidence(model, seen, cached))
    return model
