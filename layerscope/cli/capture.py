"""``layerscope capture``: states of every layer into a file."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["capture"]


def capture(
    model: Annotated[str, typer.Argument(help="Hub id (owner/name, owner/name@revision), folder, or .gguf file.")],
    texts: Annotated[str, typer.Option(help="builtin:passages, .txt, .jsonl (also .gz), or hf:DATASET/SPLIT.")] = (
        "builtin:passages"
    ),
    text_field: Annotated[str | None, typer.Option(help="Field of a .jsonl line that holds the text (text).")] = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first so many texts.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Cut texts to so many tokens (the model's context).")] = None,
    output: Annotated[Path | None, typer.Option(help="The capture file (cache/MODEL--TEXTS[--SCHEDULE].h5).")] = None,
    backend: Annotated[str, typer.Option(help="hooks, nnsight or transformer-lens.")] = "hooks",
    dtype: Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")] = "float32",
    store_dtype: Annotated[str, typer.Option(help="Store as float32, bfloat16 or float16; same as computed.")] = "same",
    schedule: Annotated[
        str, typer.Option(help="Run the blocks so: skip:12, '0-8 (9|10)*3 11-29', … (as they are).")
    ] = ("identity"),
    layers: Annotated[str | None, typer.Option(help="States to keep, such as 0,5-10 (all).")] = None,
    tokens: Annotated[str, typer.Option(help="Tokens of each text to keep: all, last, or sample:K.")] = "all",
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch, padding included.")] = 2048,
    final_norm: Annotated[bool, typer.Option("--final-norm", help="Also keep the state after the final norm.")] = False,
    spans: Annotated[
        bool, typer.Option("--spans", help="Also keep which characters each token stands for (to align tokenizers).")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished file.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of --tokens sample:K.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:0, mps.")] = "cpu",
) -> None:
    """Save the hidden states of every layer to an HDF5 file.

    The file opens in xarray. An interrupted capture continues with --resume.

    Example: layerscope capture EleutherAI/pythia-70m --output run.h5
    """
    arguments = locals()
    from layerscope.capturing.capture import capture as run

    report = run(**arguments | {"output": output or _default_output(model, texts, schedule)})
    typer.echo(str(report))


def _default_output(model: str, texts: str, schedule: str) -> Path:
    from layerscope.cli.target import default_file, of_texts

    return default_file(model, f"{of_texts(texts, schedule)}.h5")
