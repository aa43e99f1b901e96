"""Arguments and options that several commands share, each with one help text."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Attention",
    "BatchTokens",
    "Bootstrap",
    "Device",
    "DeviceMap",
    "Dtype",
    "ExcludeFirst",
    "IncludePath",
    "Json",
    "Memory",
    "ModelSource",
    "Overwrite",
    "ScheduleSpec",
    "Seed",
    "Split",
    "Stack",
    "TextField",
    "TextsSource",
]

ModelSource = Annotated[str, typer.Argument(help="Hub id (owner/name, owner/name@revision), folder, or .gguf file.")]
TextsSource = Annotated[
    str,
    typer.Option(
        help="builtin:passages, .txt, .jsonl, .csv, .tsv (also .gz), .parquet, a folder of datasets, hf:DATASET/SPLIT, or -."
    ),
]
TextField = Annotated[str | None, typer.Option(help="Field with the text or token ids, such as a.b (text).")]
Split = Annotated[str, typer.Option(help="Texts of a .txt are separated by: line, or blank-line.")]
ScheduleSpec = Annotated[str, typer.Option(help="Schedule of blocks, such as skip:12 or '0-8 (9|10)*3 11-29'.")]
Attention = Annotated[
    str | None, typer.Option("--attn", help="Attention: sdpa, flash or eager (as the model chooses).")
]
BatchTokens = Annotated[int, typer.Option(help="Maximum number of tokens of a batch, padding included.")]
Dtype = Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")]
Device = Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:0 or mps (cpu).")]
DeviceMap = Annotated[
    str | None, typer.Option(help="Spread the model over devices: auto, balanced, balanced_low_0 or sequential.")
]
Stack = Annotated[str | None, typer.Option(help="Part of an encoder-decoder: encoder or decoder.")]

ExcludeFirst = Annotated[int, typer.Option(help="Number of tokens to leave out at the start of each sequence.")]
Bootstrap = Annotated[int, typer.Option(help="Replicates over sequences, for 95 % intervals; 0: none.")]
Memory = Annotated[str, typer.Option(help="Memory limit of measures that load many states at once.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]

IncludePath = Annotated[Path | None, typer.Option(help="Folder of task definitions for lm-eval.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
