"""The command line: one module a command, which parses, calls and prints.

Exit codes: 0 done, 1 failed on the data or the model, 2 wrong use, 130 interrupted. An error is one or two lines on standard
error; ``--debug`` anywhere on the line adds the traceback. Commands import their modules when they run, so that
``layerscope --help`` is quick.
"""

import errno
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import typer

# typer carries its own copy of click, and names its exceptions nowhere else.
from typer._click.exceptions import ClickException, UsageError

from layerscope.cli.analyze import analyze
from layerscope.cli.capture import capture
from layerscope.cli.cite import cite
from layerscope.cli.demo import demo
from layerscope.cli.evaluate import evaluate
from layerscope.cli.generate import generate
from layerscope.cli.info import info
from layerscope.cli.listing import listing
from layerscope.cli.plot import plot
from layerscope.cli.scaling import scaling
from layerscope.cli.segment import segment
from layerscope.cli.sweep import sweep
from layerscope.cli.terminal import complain, end_output, give_up_output, take_any_character
from layerscope.cli.training import training
from layerscope.cli.usage_messages import usage_message
from layerscope.errors import LayerScopeError
from layerscope.panics import is_panic
from layerscope.version import __version__

__all__ = ["COMMANDS", "app", "main"]

_INTERRUPTED = 130

app = typer.Typer(
    name="layerscope",
    help="Capture the hidden states of a transformer, measure how alike its layers are, and run its blocks in another order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The command's docstring is its help.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Capture and measure": {"capture": capture, "analyze": analyze, "segment": segment, "demo": demo},
    "Interventions": {"generate": generate, "evaluate": evaluate, "sweep": sweep},
    "Across models": {"scaling": scaling, "training": training},
    "Files": {"plot": plot, "info": info, "cite": cite, "list": listing},
}
for _group, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_group)(_command)


def _print_version(asked: bool) -> bool:
    # As a callback of the option: the body of the group runs only where a command follows.
    if asked:
        typer.echo(__version__)
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_print_version),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Global options."""


def main() -> None:
    """Run the command line and exit with its code."""
    debug = "--debug" in sys.argv
    # --debug may be anywhere on the line; typer takes it before the command only.
    sys.argv = sys.argv[:1] + [argument for argument in sys.argv[1:] if argument != "--debug"]
    warnings.showwarning = _note
    take_any_character()
    sys.exit(_run(debug))


def _run(debug: bool) -> int:
    try:
        code = app(standalone_mode=False)
        end_output()
    except UsageError as error:
        if message := usage_message(error):
            _complain(message)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except (LayerScopeError, ClickException) as error:
        if debug:
            traceback.print_exc()
        _complain(str(error) if isinstance(error, LayerScopeError) else error.format_message())
        return int(error.exit_code)
    except BrokenPipeError:
        give_up_output()  # the reader has closed the pipe
        return 1
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            give_up_output()
            _complain(f"{error.strerror}: make room where the output goes")
        elif isinstance(error, OSError) and error.strerror:
            _complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        elif isinstance(error, MemoryError):
            _complain(
                f"not enough memory: {str(error) or 'the system refuses more'}\nGive lower numbers, or a smaller --memory."
            )
        else:
            _complain(
                f"{type(error).__name__}: {error}\nThis is a fault of layerscope: run again with --debug and report it."
            )
        return 1
    except BaseException as error:
        if debug or not is_panic(error):
            raise
        _complain(f"a library failed: {error}\nRun again with --debug, and report it.")
        return 1
    if code == _INTERRUPTED:  # typer gives it back as a number for Ctrl-C
        _complain("interrupted: finished work is kept, continue with --resume" if _resumable() else "interrupted")
    return code if isinstance(code, int) else 0


def _resumable() -> bool:
    """Return whether the command on the line has --resume."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = next((commands[word] for word in sys.argv[1:] if word in commands), None)
    return named is not None and any(option.name == "resume" for option in named.params)


def _complain(message: str) -> None:
    complain(f"layerscope: {message}")


def _note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print LayerScope's own notices as one line; leave those of libraries to their authors."""
    if issubclass(category, UserWarning) and not issubclass(category, DeprecationWarning):
        complain(f"note: {message}")
