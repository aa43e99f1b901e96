"""Time a capture and the usual ways of saving states, relative to the bare forward pass.

Every contender runs the same batches of the same texts through the same float32 model. All except TransformerLens's
`run_with_cache` leave the vocabulary head out. Run it on an idle machine::

    python benchmarks/capture.py [--rounds 5] [--limit 120]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rounds import Contender, compare

from layerscope.capturing.capture import capture
from layerscope.capturing.driver import plan_rows
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.packaged import fetch
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import pad_batch
from layerscope.texts.sources import open_texts
from layerscope.texts.tokens import tokenize

BATCH_TOKENS = 2048
Job = Callable[[], int]
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def load(limit: int) -> tuple[Model, Batches]:
    """Load the model and plan the batches a capture would run."""
    model = load_model(fetch("smollm2-135m"))
    with SequenceIndex() as index:
        for sequence in tokenize(open_texts("builtin:passages", limit=limit), model.tokenizer, None):
            index.add(sequence.id, sequence.token_ids)
        return model, [pad_batch(rows.token_ids, model.pad_id, "right") for rows in plan_rows(index, BATCH_TOKENS)]


def bare(folder: Path, limit: int) -> Job:
    """Baseline: the decoder alone, the lower bound of any capture."""
    model, batches = load(limit)

    def job() -> int:
        with torch.no_grad():
            for ids, mask in batches:
                model.trunk(**model.inputs(ids, mask))
        return 0

    return job


def layerscope(folder: Path, limit: int, backend: str, store_dtype: str) -> Job:
    """`ls.capture` from start to end: tokenize, create the file, run, write, close."""
    model, _ = load(limit)
    path = folder / f"{backend}-{store_dtype}.h5"

    def job() -> int:
        options = {"backend": backend, "store_dtype": store_dtype, "batch_tokens": BATCH_TOKENS}
        capture(model, "builtin:passages", path, limit=limit, overwrite=True, **options)
        return path.stat().st_size

    return job


def _save(folder: Path, states: Iterator[list[torch.Tensor]]) -> int:
    """Save the states of a batch the usual way: stacked, padding included, one .npy a batch."""
    written = 0
    for number, batch in enumerate(states):
        path = folder / f"{number}.npy"
        np.save(path, torch.stack(batch).numpy())
        written += path.stat().st_size
    return written


def output_hidden_states(folder: Path, limit: int) -> Job:
    """The `output_hidden_states` option of transformers, saved."""
    model, batches = load(limit)

    def states() -> Iterator[list[torch.Tensor]]:
        for ids, mask in batches:
            with torch.no_grad():
                yield list(model.trunk(**model.inputs(ids, mask), output_hidden_states=True).hidden_states)

    return lambda: _save(folder, states())


def nnsight_save(folder: Path, limit: int) -> Job:
    """A hand-written nnsight trace, saved."""
    import nnsight

    model, batches = load(limit)
    trunk = nnsight.NNsight(model.trunk)

    def states() -> Iterator[list[torch.Tensor]]:
        for ids, mask in batches:
            with torch.no_grad(), trunk.trace(**model.inputs(ids, mask)):
                kept = nnsight.save([trunk.layers[0].input, *(block.output for block in trunk.layers)])
            yield kept

    return lambda: _save(folder, states())


def run_with_cache(folder: Path, limit: int) -> Job:
    """`TransformerBridge.run_with_cache` on the residual stream, saved. It runs the head."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    model, batches = load(limit)
    module = model.module
    module.set_attn_implementation("eager")
    bridge = build_bridge_from_module(module, type(module).__name__, hf_config=module.config)
    names = ["blocks.0.hook_in", *(f"blocks.{block}.hook_out" for block in range(model.depth))]

    def states() -> Iterator[list[torch.Tensor]]:
        for ids, mask in batches:
            with torch.no_grad():
                _, cache = bridge.run_with_cache(ids, attention_mask=mask, names_filter=lambda name: name in names)
            yield [cache[name] for name in names]

    return lambda: _save(folder, states())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = []

        def folder() -> Path:
            folders.append(Path(name) / str(len(folders)))
            folders[-1].mkdir()
            return folders[-1]

        compare(
            [
                Contender("bare decoder forward", bare, (folder(), options.limit)),
                *(
                    Contender(f"layerscope {backend}, {dtype}", layerscope, (folder(), options.limit, backend, dtype))
                    for backend, dtype in (
                        ("hooks", "bfloat16"),
                        ("hooks", "float32"),
                        ("nnsight", "bfloat16"),
                        ("transformer-lens", "bfloat16"),
                    )
                ),
                Contender("output_hidden_states + save", output_hidden_states, (folder(), options.limit)),
                Contender("nnsight + save", nnsight_save, (folder(), options.limit)),
                Contender("TransformerBridge.run_with_cache + save", run_with_cache, (folder(), options.limit)),
            ],
            options.rounds,
        )


if __name__ == "__main__":
    main()
