"""Put the vocabulary head of an encoder-decoder behind its decoder alone, where that is the model's own head.

``transformers`` has a decoder-only class for many encoder-decoders (``BartForCausalLM``). The decoder and the head of the model
go into an empty one; no weight is copied.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.modeling_outputs import BaseModelOutput

from layerscope.models.devices import input_device
from layerscope.models.discovery.probe import accepted, first_tensor, probe_ids
from layerscope.models.eval_mode import eval_mode

__all__ = ["with_head"]


def with_head(whole: nn.Module, decoder: nn.Module) -> nn.Module:
    """Return the decoder with the head of the whole model behind it; without one where that cannot be proved.

    It is proved: the head gives the whole model's logits, bit for bit, from what its decoder returns.

    Examples
    --------
    >>> import transformers
    >>> size = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 16, "decoder_ffn_dim": 8}
    >>> config = transformers.BartConfig(**size, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=8)
    >>> whole = transformers.BartForConditionalGeneration(config)
    >>> type(with_head(whole, whole.get_decoder())).__name__
    'BartForCausalLM'
    """
    model: Any = whole
    classes: Any = AutoModelForCausalLM._model_mapping
    head = model.get_output_embeddings()
    if head is None or type(model.config) not in classes:
        return decoder
    with torch.device("meta"):  # the class changes the configuration that it is given
        alone = classes[type(model.config)]._from_config(copy.deepcopy(model.config)).train(model.training)
    inside = alone.get_decoder()
    alone.set_submodule(next(path for path, part in alone.named_modules() if part is inside), decoder)
    alone.set_output_embeddings(head)
    alone.generation_config = model.generation_config
    empty = any(tensor.is_meta for tensors in (alone.parameters(), alone.buffers()) for tensor in tensors)
    return decoder if empty or not _is_head(model, decoder, head) else alone


def _is_head(whole: Any, decoder: nn.Module, head: nn.Module) -> bool:
    """Whether a head gives the logits of the whole model from what its decoder returns."""
    if not {"encoder_outputs", "decoder_input_ids"} <= accepted(whole):
        return False
    returned: list[torch.Tensor] = []
    width = whole.config.get_text_config(encoder=True).hidden_size
    device = input_device(decoder)
    # The encoder may read sounds; any states of its width do.
    encoded = torch.linspace(-1, 1, 2 * width, dtype=whole.dtype, device=device).reshape(2, 1, width)
    hook = decoder.register_forward_hook(lambda _, __, output: returned.append(first_tensor(output)))
    with eval_mode(whole), torch.no_grad():
        try:
            logits = whole(
                encoder_outputs=BaseModelOutput(last_hidden_state=encoded), decoder_input_ids=probe_ids(decoder)
            ).logits
        finally:
            hook.remove()
        return torch.equal(head(returned[0]).to(logits.device), logits)
