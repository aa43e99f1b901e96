"""``layerscope capture``: record the states of every layer in a file."""

from pathlib import Path
from typing import Annotated

import typer

from layerscope.cli.options import (
    Attention,
    Device,
    DeviceMap,
    Dtype,
    Json,
    ModelSource,
    Overwrite,
    ScheduleSpec,
    Split,
    Stack,
    TextField,
    TextsSource,
)

__all__ = ["capture"]


def capture(
    model: ModelSource,
    texts: TextsSource = "builtin:passages",
    images: Annotated[Path | None, typer.Option(help="Folder of images instead, for a vision model.")] = None,
    text_field: TextField = None,
    split: Split = "line",
    metadata: Annotated[str | None, typer.Option(help="Fields to keep as variables, such as author,year.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first N texts only (all).")] = None,
    max_length: Annotated[int | None, typer.Option(help="Truncate texts to N tokens (the model's context).")] = None,
    output: Annotated[Path | None, typer.Option(help="Capture file (cache/MODEL--TEXTS[--SCHEDULE].h5).")] = None,
    backend: Annotated[str, typer.Option(help="hooks, nnsight or transformer-lens.")] = "hooks",
    dtype: Dtype = "float32",
    store_dtype: Annotated[
        str, typer.Option(help="Store in float32, bfloat16, float16, or same as computed.")
    ] = "same",
    schedule: ScheduleSpec = "identity",
    chat: Annotated[bool, typer.Option("--chat", help="The texts are conversations, in the field messages.")] = False,
    generate: Annotated[int, typer.Option(help="Continue each text by up to N tokens first.")] = 0,
    temperature: Annotated[float, typer.Option(help="Of --generate: 0 for the most likely token.")] = 0.0,
    layers: Annotated[str | None, typer.Option(help="States to record, such as 0,5-10 (all).")] = None,
    tokens: Annotated[
        str, typer.Option(help="Tokens: all, first, last, sample:K, generated, role:NAME, or mean.")
    ] = "all",
    batch_tokens: Annotated[
        str,
        typer.Option(help="Maximum number of tokens of a batch, padding included; auto: as many as fit the device."),
    ] = "2048",
    streams: Annotated[str, typer.Option(help="Streams to record: resid, attn, mlp, or several.")] = "resid",
    final_norm: Annotated[bool, typer.Option("--final-norm", help="Also record the output of the final norm.")] = False,
    spans: Annotated[
        bool, typer.Option("--spans", help="Also store the character span of each token, to align tokenizers.")
    ] = False,
    token_strings: Annotated[
        bool, typer.Option("--token-strings", help="Also store the name of each token in the vocabulary.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished file.")] = False,
    overwrite: Overwrite = False,
    seed: Annotated[int, typer.Option(help="Random seed of --tokens sample:K and of --temperature.")] = 0,
    device: Device = None,
    device_map: DeviceMap = None,
    stack: Stack = None,
    attn: Attention = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the blocks first.")] = False,  # noqa: A002
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the capture needs, and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Save the hidden states of every layer to an HDF5 file.

    The file opens in xarray. An interrupted capture continues with --resume.

    Example: layerscope capture EleutherAI/pythia-70m --output run.h5
    """
    arguments = locals()
    from layerscope.capturing.capture import capture as run
    from layerscope.cli.numbers import number_or_auto
    from layerscope.cli.target import default_file, of_texts
    from layerscope.errors import UsageError

    arguments["output"] = output or default_file(model, f"{of_texts(str(images or texts), schedule)}.h5")
    arguments["batch_tokens"] = number_or_auto("--batch-tokens", batch_tokens)
    only_forecast, only_json = arguments.pop("dry_run"), arguments.pop("as_json")
    if only_forecast:
        from layerscope.capturing.forecast import forecast

        need = forecast(**{name: value for name, value in arguments.items() if name not in ("resume", "overwrite")})
        typer.echo(need.as_json() if only_json else str(need))
        return
    if only_json:
        raise UsageError("--json prints the forecast of --dry-run: give both, or leave it out")
    typer.echo(str(run(**arguments)))
