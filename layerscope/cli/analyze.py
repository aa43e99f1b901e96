"""``layerscope analyze``: measures of one capture, between two, or of a model whose states are not stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["analyze"]


def analyze(
    capture: Annotated[Path, typer.Argument(help="A capture file; with --texts, a model.")],
    other: Annotated[Path | None, typer.Argument(help="A second capture of the same texts.")] = None,
    measures: Annotated[str | None, typer.Option(help="Names, comma between (see: layerscope list measures).")] = None,
    align: Annotated[
        str,
        typer.Option(help="Pair the tokens of two captures by tokens, by spans, or auto: the first that is possible."),
    ] = "auto",
    exclude_first: Annotated[int, typer.Option(help="Leave out the first so many tokens of each sequence.")] = 0,
    bootstrap: Annotated[int, typer.Option(help="Replicates over sequences, for 95 % intervals.")] = 0,
    null: Annotated[int, typer.Option(help="Random pairings of the texts, for the value by chance.")] = 0,
    ceiling: Annotated[int, typer.Option(help="Random splits into halves, for split-half reliability.")] = 0,
    memory: Annotated[str, typer.Option(help="Budget of measures that hold many states at once.")] = "4GB",
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    texts: Annotated[
        str | None, typer.Option(help="Run a model on these: builtin:passages, .txt, .jsonl, hf:.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="With --texts: only the first so many.")] = None,
    max_length: Annotated[int | None, typer.Option(help="With --texts: cut them to so many tokens.")] = None,
    schedule: Annotated[str | None, typer.Option(help="With --texts: run the blocks so, such as skip:12.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="With --texts: tokens of a batch (2048).")] = None,
    dtype: Annotated[str | None, typer.Option(help="With --texts: compute in this (float32).")] = None,
    device: Annotated[str | None, typer.Option(help="With --texts: cpu, cuda, cuda:0, mps (cpu).")] = None,
    output: Annotated[Path | None, typer.Option(help="The analysis file (the capture's name with .nc).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Measure how alike layers are, within one capture or between two.

    Two models with different tokenizers are compared where tokens of both end at
    the same character. Capture both with --spans.

    Example: layerscope analyze run.h5 --measures cosine,cka --output run.nc

    Example: layerscope analyze small.h5 large.h5 --output between.nc

    With --texts the first argument is a model. It is measured while it runs, and
    no state is stored. Measures that need several passes over the states (cka,
    cosine_centered) then use a sample of 4,096 tokens.

    Example: layerscope analyze EleutherAI/pythia-70m --texts stories.txt
    """
    from layerscope.cli.result_warnings import print_warnings
    from layerscope.measures.derived import is_derived
    from layerscope.outputs import new_file
    from layerscope.results import write_result

    running: dict[str, Any] = {
        "limit": limit,
        "max_length": max_length,
        "schedule": schedule,
        "batch_tokens": batch_tokens,
        "dtype": dtype,
        "device": device,
    }
    of_model = {name: value for name, value in running.items() if value is not None}
    of_files: dict[str, Any] = {"other": other, "align": align, "null": null, "ceiling": ceiling}
    common: dict[str, Any] = {
        "measures": None if measures is None else [name.strip() for name in measures.split(",")],
        "exclude_first": exclude_first,
        "bootstrap": bootstrap,
        "memory": memory,
        "seed": seed,
    }
    _require_fitting(capture, texts, of_model, of_files)
    target = new_file(output or _default_output(capture, texts, schedule), overwrite, capture, other, texts)
    if texts is None:
        from layerscope.measures.analysis import analyze as run_files

        result = run_files(capture, progress=True, **of_files, **common)
    else:
        from layerscope.measures.model_analysis import analyze_model

        result = analyze_model(capture, texts, **of_model, **common)
    write_result(result, target)
    print_warnings(result)
    measured = [str(name) for name in result.data_vars if not is_derived(name) and "rank" not in result[name].dims]
    typer.echo(f"{target}: {', '.join(measured)}")


def _require_fitting(
    capture: Path, texts: str | None, of_model: Mapping[str, Any], of_files: Mapping[str, Any]
) -> None:
    """Refuse options of a model where files are analysed, and the other way round."""
    from layerscope.errors import UsageError

    if texts is None:
        if capture.suffix == ".gguf" or (capture / "config.json").is_file():
            raise UsageError(f"{capture} is a model: give --texts to run it on, such as --texts builtin:passages")
        for name in of_model:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a model that is run: give --texts too, or leave it out"
            )
    elif of_files["other"] is not None or of_files["align"] != "auto":
        raise UsageError("two models are compared from their captures: leave --texts out and give two capture files")
    elif of_files["null"] or of_files["ceiling"]:
        raise UsageError(
            "--null and --ceiling go over the states again and again: capture to a file, then analyze that"
        )


def _default_output(capture: Path, texts: str | None, schedule: str | None) -> Path:
    from layerscope.cli.target import default_file, of_texts

    if texts is None:
        return capture.parent / f"{capture.stem}.nc"
    return default_file(str(capture), f"{of_texts(texts, schedule)}.nc")
