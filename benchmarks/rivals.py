"""The usual ways to take the states of a model, batch by batch, without LayerScope.

Each yields the states of one batch as a list, on the device of the model or on the host; `save` writes them to disk.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from layerscope.models.model import Model

Batches = list[tuple[torch.Tensor, torch.Tensor]]
"""Token ids and attention mask of each batch."""
States = list[torch.Tensor]


def bare(model: Model, batches: Batches) -> None:
    """Run the decoder alone, the lower bound of any capture."""
    with torch.no_grad():
        for ids, mask in batches:
            model.trunk(**model.inputs(ids, mask))


def output_hidden_states(model: Model, batches: Batches) -> Iterator[States]:
    """Take the option of transformers."""
    for ids, mask in batches:
        with torch.no_grad():
            yield list(model.trunk(**model.inputs(ids, mask), output_hidden_states=True).hidden_states)


def hooks(model: Model, batches: Batches) -> Iterator[States]:
    """Write the loop by hand: a hook before the first block and one after each, which copies the stream to the host."""
    kept: States = []
    handles = [
        model.blocks[0].register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].cpu())),
        *(block.register_forward_hook(lambda *call: kept.append(_stream(call[-1]).cpu())) for block in model.blocks),
    ]
    try:
        for ids, mask in batches:
            kept.clear()
            with torch.no_grad():
                model.trunk(**model.inputs(ids, mask))
            yield list(kept)
    finally:
        for handle in handles:
            handle.remove()


def nnsight(model: Model, batches: Batches) -> Iterator[States]:
    """Write a trace of nnsight by hand."""
    import nnsight

    trunk = nnsight.NNsight(model.trunk)
    for ids, mask in batches:
        with torch.no_grad(), trunk.trace(**model.inputs(ids, mask)):
            kept = nnsight.save([trunk.layers[0].input, *(block.output for block in trunk.layers)])
        yield [_stream(output) for output in kept]


def _stream(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def to_host(states: Iterable[States]) -> None:
    """Copy the states of each batch to the host and drop them."""
    for batch in states:
        for state in batch:
            state.cpu()


def save(folder: Path, states: Iterable[States], dtype: torch.dtype | None = None) -> int:
    """Save the states of each batch, padding included, one file a batch; return the bytes written."""
    written = 0
    for number, batch in enumerate(states):
        path = folder / f"{number}.pt"
        torch.save(torch.stack([state.cpu() for state in batch]).to(dtype), path)
        written += path.stat().st_size
    return written
