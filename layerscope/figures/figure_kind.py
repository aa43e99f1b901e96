"""Record of a figure kind: all that the command line, the docs and the tests know about it.

A record imports no drawing code. Its function is imported on first use, so that `import layerscope.figures` and
``layerscope --help`` do not load matplotlib.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

__all__ = ["FigureKind", "Option"]


@dataclass(frozen=True)
class Option:
    """Option of ``layerscope plot``, and the parameter of a figure function that it sets.

    Attributes
    ----------
    name
        Name of the parameter.
    help
        Help text, with the default in parentheses.
    type
        Type of the value.

    Examples
    --------
    >>> Option("exclude_first", "Tokens left out at the start of each sequence.", int).flag
    '--exclude-first'
    """

    name: str
    help: str
    type: Any = str

    @property
    def flag(self) -> str:
        """Spelling on the command line."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True)
class FigureKind:
    """Record of one figure kind.

    Attributes
    ----------
    name
        Name of the kind, of its function and of its module in `layerscope.figures.kinds`.
    result
        Kind of result file that it draws.
    shows
        Content of the figure, for help texts and the gallery.
    options
        Options of ``layerscope plot`` that apply to it.
    width
        Default width.
    example
        Options of the example command.
    files
        Files of the example command, of a kind that draws several; by default one, of the name of `result`.
    from_file
        Function of its module that draws the dataset of a file, where the public function takes less than a dataset or
        an argument that no option can spell. By default the public function.
    """

    name: str
    result: Literal["analysis", "scaling", "training", "sweep"]
    shows: str
    options: tuple[Option, ...] = ()
    width: Literal["single", "double"] = "double"
    example: str = ""
    files: str = ""
    from_file: str = ""

    @property
    def function(self) -> Callable[..., Any]:
        """The public function that draws it."""
        function: Callable[..., Any] = getattr(self._module, self.name)
        return function

    @property
    def command(self) -> str:
        """Example command, by default with the result kind as the name of the file."""
        files = self.files or f"{self.result}.nc"
        return " ".join(filter(None, [f"layerscope plot {files} --kind {self.name}", self.example]))

    @property
    def several(self) -> bool:
        """Whether it draws several result files."""
        return bool(self.files)

    def draw(self, *datasets: Any, **options: Any) -> Any:
        """Draw the datasets of result files with options of the command line, and return the figure."""
        return getattr(self._module, self.from_file or self.name)(datasets if self.several else datasets[0], **options)

    @property
    def _module(self) -> ModuleType:
        return import_module(f"layerscope.figures.kinds.{self.name}")
