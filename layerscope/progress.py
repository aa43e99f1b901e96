"""Show progress on a terminal: a bar with speed and remaining time if the total is known, otherwise a spinner.

Nothing is shown if standard error is not a terminal.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress"]

Advance = Callable[[int], None]


@contextmanager
def progress(title: str, total: int | None = None, unit: str = "tokens", *, show: bool = True) -> Iterator[Advance]:
    """Show the progress of a task; yield a function to call with the amount of work done since the last call.

    Examples
    --------
    >>> with progress("counting", total=2, unit="steps") as advance:
    ...     advance(1)
    ...     advance(1)
    """
    if not (show and sys.stderr.isatty()):
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if total is None:
        columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    else:
        speed = TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit + " · {task.fields[speed]}")
        columns = [TextColumn("{task.description}"), BarColumn(), speed, TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, speed="")

        def advance(amount: int) -> None:
            done = bar.tasks[task]
            bar.update(task, advance=amount, speed=f"{done.speed:,.0f} {unit}/s" if done.speed else "")

        yield advance
