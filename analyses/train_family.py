"""Train a small family of GPT-NeoX models that differ in depth alone, to see how depth changes their layers.

All have the same width, tokenizer, texts, batches and number of steps; by default they have 6, 12, 18 and 24 blocks. The
default texts are LayerScope's own passages, which a model soon knows by heart: a text file of a megabyte or more makes a
better family. Finished models are not trained again, so an interrupted run resumes with the next one::

    python analyses/train_family.py --text some.txt
    layerscope capture cache/family/depth-06 --output depth-06.h5    # and so on: docs/scaling.md
"""

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

from layerscope.cache import cache_root
from layerscope.cli.numbers import whole_numbers
from layerscope.errors import TextsError, UsageError, at_least
from layerscope.texts.sources import open_texts
from scripts import ended

END = "<|endoftext|>"
HELD_OUT = 10  # every tenth text is never trained on
REPORTS = 10
WARM_UP = 0.1  # part of the steps
EVALUATED = 64  # maximum number of sequences
BYTES = 256  # the alphabet of a byte-level tokenizer
HEAD = 16


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--text", default="builtin:passages", help="a .txt file with one text a line, or any source of texts"
    )
    parser.add_argument("--depths", default="6,12,18,24", help="blocks of each model")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=512)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--length", type=int, default=128, help="tokens in a sequence")
    parser.add_argument("--batch", type=int, default=8, help="sequences in a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=cache_root() / "family")
    parser.add_argument("--overwrite", action="store_true", help="train existing models again")
    return checked(parser.parse_args())


def checked(chosen: argparse.Namespace) -> argparse.Namespace:
    """Refuse options out of range."""
    chosen.depths = whole_numbers("--depths", chosen.depths)
    at_least(1, depths=min(chosen.depths), steps=chosen.steps, length=chosen.length, batch=chosen.batch)
    at_least(BYTES + 1, vocabulary=chosen.vocabulary)
    at_least(0, seed=chosen.seed)
    if chosen.width < HEAD or chosen.width % HEAD:
        raise UsageError(f"width {chosen.width}: must be a multiple of {HEAD}, the width of a head")
    if not chosen.rate > 0:
        raise UsageError(f"rate {chosen.rate}: must be above 0")
    return chosen


def main() -> None:
    """Train every model that is not finished."""
    chosen = options()
    texts = [text.text for text in open_texts(chosen.text)]
    held_out = texts[HELD_OUT - 1 :: HELD_OUT]
    trained_on = [text for number, text in enumerate(texts) if (number + 1) % HELD_OUT]
    tokenizer = make_tokenizer(trained_on, chosen.vocabulary, chosen.length)
    streams = [token_stream(tokenizer, some, chosen.length) for some in (trained_on, held_out)]
    print(f"{chosen.text}: {len(streams[0]):,} tokens to train on, {len(streams[1]):,} held out")
    for depth in chosen.depths:
        folder = chosen.output / f"depth-{depth:02d}"
        settings = {
            name: value for name, value in vars(chosen).items() if name not in ("depths", "output", "overwrite")
        }
        if finished(folder, settings, chosen.overwrite):
            print(f"{folder}: already trained")
            continue
        module, losses = train(make_module(depth, chosen), *streams, chosen)
        save(folder, module, tokenizer, {"settings": settings, **losses})
        print(f"{folder}: " + ", ".join(f"{name} {value:,.3f}" for name, value in losses.items()))


def make_tokenizer(texts: list[str], vocabulary: int, length: int) -> transformers.PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which can encode any text."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=[END], show_progress=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained, eos_token=END, pad_token=END, model_max_length=length
    )


def token_stream(tokenizer: transformers.PreTrainedTokenizerFast, texts: list[str], length: int) -> torch.Tensor:
    """Join the tokens of all texts, an end token after each."""
    ids = [
        token
        for one in tokenizer(texts, truncation=False, verbose=False).input_ids
        for token in [*one, tokenizer.eos_token_id]
    ]
    if len(ids) <= length:
        raise TextsError(
            f"{len(ids)} tokens are too few for sequences of {length}: give more text, or a lower --length"
        )
    return torch.tensor(ids)


def make_module(depth: int, chosen: argparse.Namespace) -> transformers.GPTNeoXForCausalLM:
    """Return an untrained model, determined by the seed."""
    torch.manual_seed(chosen.seed)
    return transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            vocab_size=chosen.vocabulary,
            hidden_size=chosen.width,
            intermediate_size=4 * chosen.width,
            num_hidden_layers=depth,
            num_attention_heads=chosen.width // HEAD,
            max_position_embeddings=chosen.length,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def train(
    module: transformers.GPTNeoXForCausalLM, stream: torch.Tensor, held_out: torch.Tensor, chosen: argparse.Namespace
) -> tuple[transformers.GPTNeoXForCausalLM, dict[str, float]]:
    """Train on random stretches of the stream; return the model and its losses in nats a token."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=chosen.rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, chosen.steps))
    started = time.perf_counter()
    for step, batch in enumerate(batches(stream, chosen), 1):
        loss = module(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % max(1, chosen.steps // REPORTS) == 0:
            print(f"  {module.config.num_hidden_layers} blocks, step {step}: loss {loss.item():.3f}", flush=True)
    seconds = time.perf_counter() - started
    losses = {name: evaluate(module, some, chosen.length) for name, some in (("train", stream), ("held_out", held_out))}
    return module, {**losses, "seconds": seconds}


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate factor of a step: it rises for the first tenth, then falls along a cosine to a tenth."""
    warm_up = max(1, int(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.55 + 0.45 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def batches(stream: torch.Tensor, chosen: argparse.Namespace) -> Iterator[torch.Tensor]:
    """Draw stretches of the stream, the same for every model."""
    generator = np.random.default_rng(chosen.seed)
    for _ in range(chosen.steps):
        starts = generator.integers(len(stream) - chosen.length, size=chosen.batch)
        yield torch.stack([stream[start : start + chosen.length] for start in starts])


@torch.no_grad()
def evaluate(module: transformers.GPTNeoXForCausalLM, stream: torch.Tensor, length: int) -> float:
    """Return the mean loss over stretches that cover the stream, or its beginning where it is long."""
    module.eval()
    parts = stream[: len(stream) // length * length].reshape(-1, length)[:EVALUATED]
    losses = [module(input_ids=part[None], labels=part[None]).loss.item() for part in parts]
    return float(np.mean(losses))


def finished(folder: Path, settings: dict[str, object], overwrite: bool) -> bool:
    """Tell if the folder has a model with these settings; refuse to replace another model or anything else."""
    record = folder / "training.json"
    if not record.is_file():
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(f"{folder} is there and no model that was trained here: give another folder")
        return False
    if not overwrite and json.loads(record.read_text())["settings"] != settings:
        raise UsageError(f"{folder} was trained with other settings: give --overwrite, or another folder")
    return not overwrite


def save(folder: Path, module: transformers.GPTNeoXForCausalLM, tokenizer: object, record: dict[str, object]) -> None:
    """Write the model into its folder atomically."""
    folder = folder.resolve()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    module.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "training.json").write_text(json.dumps(record, indent=2))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


if __name__ == "__main__":
    ended(main)
