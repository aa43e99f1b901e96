"""Models of known shapes with random weights, made on a device, and random texts for them. Nothing is read from disk."""

from dataclasses import dataclass

import torch
import transformers

from layerscope.models.loading import wrap_module
from layerscope.models.model import Model

Texts = list[list[int]]


@dataclass(frozen=True)
class Shape:
    """The shape of a decoder: its family and the sizes in its configuration."""

    name: str
    family: str
    width: int
    depth: int
    heads: int
    inner: int
    vocabulary: int

    def config(self) -> transformers.PretrainedConfig:
        return transformers.AutoConfig.for_model(
            self.family,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.inner,
            vocab_size=self.vocabulary,
            max_position_embeddings=2048,
            bos_token_id=0,
            eos_token_id=0,
        )


PYTHIA_1B = Shape("Pythia-1B", "gpt_neox", 2048, 16, 8, 8192, 50304)
LLAMA_7B = Shape("Llama-7B", "llama", 4096, 32, 32, 11008, 32000)
TINY = [Shape("tiny Pythia", "gpt_neox", 32, 4, 2, 64, 512), Shape("tiny Llama", "llama", 32, 32, 2, 48, 512)]


def random_model(shape: Shape, device: torch.device) -> Model:
    """Make the model on the device, in bfloat16."""
    with torch.device(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        module = transformers.AutoModelForCausalLM.from_config(shape.config(), dtype=torch.bfloat16)
    return wrap_module(module.eval(), name=shape.name)


def random_texts(tokens: int, longest: int, vocabulary: int) -> Texts:
    """Draw token ids for texts of between half and all of the longest length, of about as many tokens in all as asked for."""
    random = torch.Generator().manual_seed(0)
    texts: Texts = []
    while sum(map(len, texts)) < tokens:
        length = int(torch.randint(longest // 2, longest + 1, (), generator=random))
        texts.append(torch.randint(1, vocabulary, (length,), generator=random).tolist())
    return texts
