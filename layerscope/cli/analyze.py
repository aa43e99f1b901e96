"""``layerscope analyze``: measures of one capture, between two, or of a model whose states are not stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layerscope.cli.options import Bootstrap, ExcludeFirst, Memory, Overwrite, Seed

if TYPE_CHECKING:
    import xarray

__all__ = ["analyze"]


_OPTIONS = ("stream", "exclude_first", "bootstrap", "memory", "seed")
_OF_A_RUN = (
    "text_field",
    "split",
    "limit",
    "max_length",
    "schedule",
    "batch_tokens",
    "dtype",
    "device_map",
    "stack",
)


def _of_a_run(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Options with --texts, which runs a model")


def analyze(
    capture: Annotated[Path, typer.Argument(help="Capture file; with --texts, a model.")],
    other: Annotated[Path | None, typer.Argument(help="Second capture of the same texts.")] = None,
    measures: Annotated[
        str | None, typer.Option(help="Names, as in cosine,cka (see: layerscope list measures).")
    ] = None,
    stream: Annotated[str, typer.Option(help="Stream to measure: resid, attn or mlp.")] = "resid",
    align: Annotated[str, typer.Option(help="Pair tokens of two captures by: tokens, spans, or auto.")] = "auto",
    exclude_first: ExcludeFirst = 0,
    bootstrap: Bootstrap = 0,
    null: Annotated[int, typer.Option(help="Random pairings of texts, for the value by chance.")] = 0,
    ceiling: Annotated[int, typer.Option(help="Random half splits, for split-half reliability.")] = 0,
    memory: Memory = "4GB",
    device: Annotated[
        str | None, typer.Option(help="Device of the measures and, with --texts, of the model: cpu, cuda, … (cpu).")
    ] = None,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Analysis file (the capture's name with .nc).")] = None,
    overwrite: Overwrite = False,
    texts: Annotated[str | None, _of_a_run("Run a model on these texts, as in layerscope capture.")] = None,
    text_field: Annotated[str | None, _of_a_run("Field with the text or token ids, such as a.b (text).")] = None,
    split: Annotated[str | None, _of_a_run("Texts of a .txt are separated by: line, or blank-line (line).")] = None,
    limit: Annotated[int | None, _of_a_run("Use the first N texts only (all).")] = None,
    max_length: Annotated[int | None, _of_a_run("Truncate texts to N tokens (the model's context).")] = None,
    schedule: Annotated[str | None, _of_a_run("Schedule of blocks, such as skip:12 (identity).")] = None,
    batch_tokens: Annotated[int | None, _of_a_run("Maximum number of tokens of a batch (2048).")] = None,
    dtype: Annotated[str | None, _of_a_run("Compute in float32, bfloat16, float16 (float32).")] = None,
    device_map: Annotated[str | None, _of_a_run("Spread the model over devices: auto, balanced, …")] = None,
    stack: Annotated[str | None, _of_a_run("Part of an encoder-decoder: encoder or decoder.")] = None,
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
    arguments = locals()
    from layerscope.outputs import new_file

    given = {name: arguments[name] for name in _OPTIONS}
    given["measures"] = None if measures is None else [name.strip() for name in measures.split(",")]
    target = output or _default_output(capture, texts, schedule, stream)
    if texts is None:
        from layerscope.measures.analysis import analyze as run

        _require_capture(capture, arguments)
        target = new_file(target, overwrite, capture, other)
        given["device"] = device or "cpu"
        result = run(capture, other, align=align, null=null, ceiling=ceiling, progress=True, **given)
    else:
        from layerscope.measures.model_analysis import analyze_model

        _require_model(arguments)
        target = new_file(target, overwrite, capture, texts)
        result = analyze_model(capture, texts, device=device, **given, **_running(arguments))
    _write(result, target)


def _write(result: "xarray.Dataset", target: Path) -> None:
    from layerscope.cli.result_warnings import print_warnings
    from layerscope.measures.derived import is_derived
    from layerscope.results import write_result

    write_result(result, target)
    print_warnings(result)
    measured = [str(name) for name in result.data_vars if not is_derived(name) and "rank" not in result[name].dims]
    typer.echo(f"{target}: {', '.join(measured)}")


def _running(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in _OF_A_RUN if arguments[name] is not None}


def _require_capture(capture: Path, arguments: Mapping[str, Any]) -> None:
    from layerscope.errors import UsageError

    if capture.suffix == ".gguf" or (capture / "config.json").is_file():
        raise UsageError(f"{capture} is a model: give --texts to run it on, such as --texts builtin:passages")
    for name in _running(arguments):
        raise UsageError(f"--{name.replace('_', '-')} is an option of a model run: add --texts, or leave it out")


def _require_model(arguments: Mapping[str, Any]) -> None:
    from layerscope.errors import UsageError

    if arguments["other"] is not None or arguments["align"] != "auto":
        raise UsageError("two models are compared by their captures: leave out --texts and give two capture files")
    if arguments["null"] or arguments["ceiling"]:
        raise UsageError("--null and --ceiling read the states many times: capture to a file, then analyze that")


def _default_output(capture: Path, texts: str | None, schedule: str | None, stream: str) -> Path:
    from layerscope.cli.target import default_file, of_texts

    of_stream = "" if stream == "resid" else f"--{stream}"
    if texts is None:
        return capture.parent / f"{capture.stem}{of_stream}.nc"
    return default_file(str(capture), f"{of_texts(texts, schedule)}{of_stream}.nc")
