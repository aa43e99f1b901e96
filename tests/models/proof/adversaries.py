"""Made-up models, each of which breaks one fact of the proof and no other."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import Cache, DynamicCache, LlamaConfig, LlamaPreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

WIDTH, DEPTH, VOCABULARY = 16, 3, 40


def mean_so_far(stream: torch.Tensor) -> torch.Tensor:
    return stream.cumsum(1) / torch.arange(1, stream.shape[1] + 1)[:, None]


class Block(nn.Module):
    """Adds to each token something of the mean of the tokens up to it; with a cache, of those before this pass, too."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.index = index

    def forward(self, stream: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        tokens = stream
        if cache is not None:
            tokens = cache.update(stream[:, None], stream[:, None], self.index)[0][:, 0]
        return stream + self.inner(mean_so_far(tokens)[:, -stream.shape[1] :]).tanh()


class Honest(LlamaPreTrainedModel):
    """A decoder without a head, of which every fact holds. Subclasses break one each."""

    blocks: type[Block] = Block

    def __init__(self, **settings: Any) -> None:
        size = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "vocab_size": VOCABULARY}
        super().__init__(LlamaConfig(**size | settings))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.layers = nn.ModuleList(self.blocks(index) for index in range(DEPTH))
            self.norm: nn.Module = nn.LayerNorm(WIDTH)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def forward(
        self, input_ids: torch.Tensor, past_key_values: Cache | None = None, use_cache: bool = False
    ) -> BaseModelOutputWithPast:
        cache = DynamicCache() if use_cache and past_key_values is None else past_key_values
        stream = self.start(self.embed(input_ids))
        states = []
        for layer in self.layers:
            stream = layer(stream, cache)
            states.append(stream)
        end = self.end(stream)
        return BaseModelOutputWithPast(last_hidden_state=end, past_key_values=cache, hidden_states=tuple(states))

    def start(self, stream: torch.Tensor) -> torch.Tensor:
        return stream

    def end(self, stream: torch.Tensor) -> torch.Tensor:
        return self.norm(stream)


class MixesBefore(Honest):
    """Tokens are mixed before the first block."""

    def start(self, stream: torch.Tensor) -> torch.Tensor:
        return mean_so_far(stream)


class ScalesAfterTheNorm(Honest):
    """(a) The trunk does not return the output of the final norm."""

    def end(self, stream: torch.Tensor) -> torch.Tensor:
        return self.norm(stream) * 2


class MixesAfter(Honest):
    """(a) What looks like the final norm mixes tokens."""

    def __init__(self) -> None:
        super().__init__()

        class Mixing(nn.Module):
            def forward(self, stream: torch.Tensor) -> torch.Tensor:
                return mean_so_far(stream)

        self.norm = Mixing()


class TwoLists(Honest):
    """(a) Two lists in a row: the first one, taken for the blocks, is a chain like any other."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.ModuleList(Block(index) for index in range(DEPTH))

    def end(self, stream: torch.Tensor) -> torch.Tensor:
        for layer in self.more:
            stream = layer(stream)
        return self.norm(stream)


class WithHead(LlamaPreTrainedModel):
    """A decoder with a head."""

    def __init__(self) -> None:
        model = Honest()
        super().__init__(model.config)
        self.model = model
        self.lm_head = nn.Linear(WIDTH, VOCABULARY)

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed

    def forward(
        self, input_ids: torch.Tensor, past_key_values: Cache | None = None, use_cache: bool = False
    ) -> CausalLMOutputWithPast:
        output = self.model(input_ids, past_key_values=past_key_values, use_cache=use_cache)
        read = output.last_hidden_state
        if self.looks_back(decoding=past_key_values is not None):
            read = read + output.hidden_states[0]
        return CausalLMOutputWithPast(logits=self.lm_head(read), past_key_values=output.past_key_values)

    def looks_back(self, decoding: bool) -> bool:
        return False


class ReadsAnEarlierState(WithHead):
    """(b) The head reads the state after block 0, too."""

    def looks_back(self, decoding: bool) -> bool:
        return not decoding


class ReadsAnEarlierStateWithACache(WithHead):
    """(b) The head reads the state after block 0, too, once there is a cache."""

    def looks_back(self, decoding: bool) -> bool:
        return decoding


class Noting(Block):
    """A block that hears of the block before behind the back of the model."""

    notes: ClassVar[list[torch.Tensor]] = []

    def forward(self, stream: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        if self.index == 0:
            self.notes.clear()
        heard = sum(note.mean() for note in self.notes)
        self.notes.append(stream.detach().clone())
        return super().forward(stream, cache) + heard


class Whispers(Honest):
    """(c) A block depends on the blocks that ran before it, through an object that no argument shows."""

    blocks = Noting


class Keeping(Block):
    """A block that keeps the stream of a pass with a cache."""

    def forward(self, stream: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        if cache is not None:
            self.kept = stream
        return super().forward(stream, cache)


class Keeps(Honest):
    """(d) A module keeps a tensor of a pass with a cache."""

    blocks = Keeping


class WritesInPlace(Honest):
    """A block writes into the stream that it reads."""

    class Writing(Block):
        def forward(self, stream: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
            after = super().forward(stream, cache)
            stream += 1
            return after

    blocks = Writing


class Deeper(Honest):
    """(e) The configuration states more blocks than there are."""

    def __init__(self) -> None:
        super().__init__(num_hidden_layers=DEPTH + 2)


class Wider(Honest):
    """(e) The configuration states another width."""

    def __init__(self) -> None:
        super().__init__(hidden_size=2 * WIDTH)
