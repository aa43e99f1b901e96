"""The help of every command: it fits a terminal, and its examples run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from layerscope.cli import COMMANDS, app
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import piece_tokenizer

NAMES = [name for group in COMMANDS.values() for name in group]
EXAMPLE = re.compile(r"^ *Example: layerscope (.+?) *$", re.MULTILINE)


def help_of(name: str | None) -> str:
    return run(*([name] if name else []), "--help", columns=80).stdout


def examples(name: str) -> list[str]:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return EXAMPLE.findall(command.help)


def save(folder: Path, blocks: int) -> None:
    tiny_module("gpt_neox", num_hidden_layers=blocks, max_position_embeddings=512, vocab_size=512).save_pretrained(
        folder
    )
    piece_tokenizer().save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a folder with the files that the examples name, on tiny models; no example needs the network here."""
    folder = tmp_path_factory.mktemp("examples")
    model = folder / "EleutherAI" / "pythia-70m"
    save(model, blocks=6)
    (folder / "stories.txt").write_text("\n".join(f"w{n} w{n + 1} w{2 * n} w5 w7 w{n + 3}" for n in range(12)))
    for name in ("small", "large", "step0", "step512"):
        run("capture", model, "--texts", "stories.txt", "--output", f"{name}.h5", cwd=folder)
    for name in ("small", "large"):
        save(folder / name, blocks=5 if name == "small" else 7)
        run("analyze", name, "--texts", "stories.txt", "--bootstrap", "40", "--output", f"{name}.nc", cwd=folder)
    run("sweep", model, "--task", "builtin:cloze", "--limit", "6", "--output", "sweep.nc", cwd=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSCOPE_CACHE", str(folder / "cache"))
        patch.setattr("layerscope.models.packaged.fetch", lambda name: model)
        yield folder


@pytest.mark.parametrize("name", [None, *NAMES])
def test_help_fits_eighty_columns(name: str | None) -> None:
    lines = help_of(name).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.rstrip().endswith(("…", "...")) for line in lines if line.startswith("│"))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_sentence_fits_a_line_of_the_list(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    first = command.help.split("\n\n")[0]
    assert len(first) <= 66
    assert first.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_printed_on_one_line(name: str) -> None:
    printed = EXAMPLE.findall(help_of(name))
    assert printed == examples(name)
    assert printed


@pytest.mark.parametrize(("name", "example"), [(name, example) for name in NAMES for example in examples(name)])
def test_examples_run(name: str, example: str, folder: Path) -> None:
    arguments = shlex.split(example)
    assert arguments[0] == name
    run(*arguments, cwd=folder)
