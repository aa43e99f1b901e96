"""Write the page on scale: what a large capture needs on one node, derived from sizes and data sheets."""

from dataclasses import dataclass

import torch
import transformers
from commands import table
from rich.filesize import decimal

from layerscope.capturing.flops import forward_flops
from layerscope.store.space import forecast_bytes

__all__ = ["scale_page"]

TOKENS, LENGTH, BATCH = 1_000_000, 2_000, 16_000
FLOPS, LINK, MEMORY, DISK = 989.4e12, 64e9, 80e9, 6.6e9
"""Dense bfloat16 operations a second, bytes a second each way, bytes of an H100 SXM; bytes a second written by one PM1743."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, in the blocks that run and whole."""

    name: str
    blocks: int
    width: int
    of_blocks: int
    whole: int

    def flops(self, blocks: int) -> int:
        """Return the operations of the first blocks, which attend over their whole width."""
        parameters = self.of_blocks * blocks // self.blocks
        return forward_flops(parameters, blocks, self.width, [(TOKENS // LENGTH, LENGTH)])

    def moved(self, rows: int, states: int, dtype: torch.dtype) -> int:
        """Return the bytes of states that cross to the host."""
        return rows * states * self.width * dtype.itemsize


@dataclass(frozen=True)
class Need:
    """What one choice of options needs: operations, bytes over the link and bytes on the disk."""

    flops: int
    moved: int
    written: int

    @property
    def seconds(self) -> dict[str, float]:
        """The least time of each resource."""
        return {"computing": self.flops / FLOPS, "PCIe": self.moved / LINK, "disk": self.written / DISK}

    @property
    def limit(self) -> str:
        """The resource that takes longest."""
        return max(self.seconds, key=self.seconds.__getitem__)


def shapes() -> list[Shape]:
    """Return the two models, built without memory for their values."""
    pythia = transformers.GPTNeoXConfig(
        num_hidden_layers=36, hidden_size=5120, intermediate_size=20480, num_attention_heads=40, vocab_size=50688
    )
    llama = transformers.LlamaConfig(
        num_hidden_layers=80,
        hidden_size=8192,
        intermediate_size=28672,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    return [_shape("Pythia-12B", pythia), _shape("Llama-70B shape", llama)]


def _shape(name: str, config: transformers.PreTrainedConfig) -> Shape:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    blocks = next(
        part
        for part in model.modules()
        if isinstance(part, torch.nn.ModuleList) and len(part) == config.num_hidden_layers
    )
    of_blocks, whole = (sum(one.numel() for one in part.parameters()) for part in (blocks, model))
    return Shape(name, config.num_hidden_layers, config.hidden_size, of_blocks, whole)


def needs(shape: Shape) -> dict[str, Need]:
    """Return what each choice of options needs."""

    def need(rows: int, states: int, last: int, dtype: torch.dtype) -> Need:
        written = forecast_bytes(rows, states, shape.width, dtype, sequences=TOKENS // LENGTH)
        return Need(shape.flops(last), shape.moved(rows, states, dtype), written)

    all_states, middle = shape.blocks + 1, shape.blocks // 2
    half = torch.bfloat16
    full = need(TOKENS, all_states, shape.blocks, half)
    return {
        "`--store-dtype float32`": need(TOKENS, all_states, shape.blocks, torch.float32),
        "`--store-dtype bfloat16`": full,
        "`--tokens sample:100`": need(TOKENS // LENGTH * 100, all_states, shape.blocks, half),
        "`--tokens last`": need(TOKENS // LENGTH, all_states, shape.blocks, half),
        f"`--layers {middle}`": need(TOKENS, 1, middle, half),
        "statistics only": Need(full.flops, full.moved, 0),
    }


def scale_page() -> str:
    """Return the page on scale."""
    found = shapes()
    parts = [
        "# Scale on paper",
        "What a million tokens of a large model need on one H100 node, and what limits them. **Nothing on this page was "
        "measured**: it is arithmetic, and the times are lower bounds. For your own model and texts, `--dry-run` prints such a "
        "forecast before anything runs; it writes no file:",
        "```bash\nlayerscope capture EleutherAI/pythia-12b --texts my-texts.jsonl --dry-run\n```",
        f"Assumed here: texts of {LENGTH:,} tokens, batches of {BATCH:,}, computed in bfloat16. One GPU computes at a time: "
        "`--device-map auto` runs the blocks of a model on several GPUs in turn.",
        "## Formulas",
        table(
            ["quantity", "formula"],
            [
                ["operations", "2 × parameters of the blocks × tokens + 4 × attention width × blocks × Σ length²"],
                ["bytes over PCIe", "rows × states × features × bytes a number"],
                ["bytes on disk", "the same in whole chunks, the index and HDF5's metadata"],
                ["memory", "weights + 2 × rows of the largest batch × states × features × bytes a number"],
            ],
        ),
        "- The head does not run, and no block after the last recorded state.\n"
        "- Padding counts as tokens. The masked half of attention counts, although fused attention may leave it out.\n"
        "- Attention width is heads × width of a head. Of a mixture of experts all parameters count: a bound.\n"
        "- Memory leaves out activations, which grow with `--batch-tokens`.\n"
        "- The forecast reads a model's weights only where its configuration does not tell enough: learned positions, dynamic "
        "rotary scaling, adapters, `attn` and `mlp`, `--final-norm`, other backends.",
        "## Figures of the data sheets",
        table(
            ["resource", "figure", "source"],
            [
                [
                    "computing",
                    f"{FLOPS / 1e12:,.0f} TFLOP/s a GPU",
                    "NVIDIA H100 SXM data sheet: bfloat16, without sparsity (half of 1,979)",
                ],
                ["PCIe", f"{LINK / 1e9:.0f} GB/s a GPU", "the same: Gen5, 128 GB/s for both directions"],
                ["memory", f"{MEMORY / 1e9:.0f} GB a GPU", "the same"],
                [
                    "disk",
                    f"{DISK / 1e9:.1f} GB/s",
                    "Samsung's announcement of the PM1743: sequential writing, one drive",
                ],
            ],
        ),
        "A real model reaches a part of these, and a slower disk is common.",
    ]
    for shape in found:
        parts += _section(shape)
    return "\n\n".join([*parts, *_limits(found)]) + "\n"


def _section(shape: Shape) -> list[str]:
    weights, buffers = 2 * shape.whole, 2 * shape.moved(BATCH, shape.blocks + 1, torch.bfloat16)
    gpus = -(-(weights + buffers) // int(MEMORY))
    rows = [
        [
            name,
            f"{need.flops / 1e15:,.1f}",
            decimal(need.moved),
            decimal(need.written),
            *(f"{seconds:,.1f}" for seconds in need.seconds.values()),
            need.limit,
        ]
        for name, need in needs(shape).items()
    ]
    return [
        f"## {shape.name}",
        f"{shape.blocks} blocks, {shape.width:,} features, {shape.whole / 1e9:.1f} billion parameters, of which "
        f"{shape.of_blocks / 1e9:.1f} in the blocks. Weights take {decimal(weights)} and the buffers {decimal(buffers)}, "
        f"so at least {gpus} GPU{'s' * (gpus > 1)} without the activations.",
        table(["option", "PFLOP", "over PCIe", "on disk", "computing, s", "PCIe, s", "disk, s", "limit"], rows),
    ]


def _limits(found: list[Shape]) -> list[str]:
    """Return the limits as sentences, from the same numbers."""
    lines = []
    for shape in found:
        limits: dict[str, list[str]] = {}
        for name, need in needs(shape).items():
            limits.setdefault(need.limit, []).append(name)
        lines.append(
            f"- {shape.name}: " + "; ".join(f"{limit} limits {', '.join(of)}" for limit, of in limits.items()) + "."
        )
        seconds = needs(shape)["`--store-dtype bfloat16`"].seconds
        share = seconds["PCIe"] / seconds["computing"]
        even = shape.moved(TOKENS, shape.blocks + 1, torch.bfloat16) / seconds["computing"]
        lines.append(
            f"- {shape.name}: copying takes {share:.0%} of the time of computing, and runs next to it. "
            f"A disk of {even / 1e9:.1f} GB/s keeps up with one GPU at its peak in bfloat16."
        )
    return ["## The limits", "\n".join(lines)]
