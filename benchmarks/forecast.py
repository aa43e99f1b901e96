"""Forecast disk, memory and time of the ten Pythia sizes on two cores.

Sizes follow from the model configurations, which are copied here, so no model is fetched. Time is an estimate: that of
SmolLM2-135M (docs/performance.md), scaled by the number of parameters outside the embedding and the head::

    python benchmarks/forecast.py [--tokens 100000] [--speed 536]
"""

import argparse

import torch
from rich.filesize import decimal
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from layerscope.store.space import forecast_bytes

# blocks, width, rows of the embedding: config.json of EleutherAI/pythia-*
SIZES = {
    "14m": (6, 128, 50304),
    "31m": (6, 256, 50304),
    "70m": (6, 512, 50304),
    "160m": (12, 768, 50304),
    "410m": (24, 1024, 50304),
    "1b": (16, 2048, 50304),
    "1.4b": (24, 2048, 50304),
    "2.8b": (32, 2560, 50304),
    "6.9b": (32, 4096, 50432),
    "12b": (36, 5120, 50688),
}
SMOLLM2 = 134_515_008 - 49_152 * 576  # parameters outside the embedding, which is its head too


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--speed", type=float, default=536.0, help="tokens a second of SmolLM2-135M")
    chosen = parser.parse_args()
    print(f"| model | blocks | width | parameters | KB a token | states of {chosen.tokens:,} tokens | weights | time |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (blocks, width, vocabulary) in SIZES.items():
        config = GPTNeoXConfig(
            num_hidden_layers=blocks,
            hidden_size=width,
            intermediate_size=4 * width,
            num_attention_heads=8,
            vocab_size=vocabulary,
        )
        with torch.device("meta"):
            parameters = sum(one.numel() for one in GPTNeoXForCausalLM(config).parameters())
        disk = forecast_bytes(chosen.tokens, blocks + 1, width, torch.bfloat16)
        seconds = chosen.tokens / chosen.speed * (parameters - 2 * vocabulary * width) / SMOLLM2
        kilobytes = (blocks + 1) * width * 2 / 1000
        print(
            f"| {name} | {blocks} | {width} | {parameters:,} | {kilobytes:.1f} | {decimal(disk)} "
            f"| {decimal(2 * parameters)} | {spoken(seconds)} |"
        )


def spoken(seconds: float) -> str:
    """Return a time as readable text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
