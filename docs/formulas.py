"""mkdocs hook: convert LaTeX formulas to MathML when the site is built.

Browsers draw MathML, so a page fetches no script and no font. Write ``$…$`` inside a line, ``$$…$$`` on a line, and
``.. math:: …`` in docstrings. A formula that cannot be converted fails the build.
"""

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

_ABOVE_ESCAPES = 185  # a backslash belongs to the formula; code in backticks (190) is none
_DOCSTRING_FORM = re.compile(r"^(\s*)\.\. math::\s*(.+)$")


class _Formula(InlineProcessor):
    """Turns one LaTeX formula into MathML."""

    def __init__(self, pattern: str, md: Markdown, display: str) -> None:
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802
        """Convert a formula; the limits of sums stay above and below, even within a line."""
        drawn = convert(m[1].replace("\n", " "), display=self.display)
        drawn = drawn.replace("<math ", '<math displaystyle="true" ', 1)
        return self.md.htmlStash.store(drawn), m.start(0), m.end(0)


class _DocstringForm(Preprocessor):
    """Rewrites ``.. math:: …``, as numpydoc has it, as ``$$…$$``."""

    def run(self, lines: list[str]) -> list[str]:
        """Rewrite the lines that are formulas."""
        return [_DOCSTRING_FORM.sub(r"\1$$\2$$", line) for line in lines]


class Formulas(Extension):
    """Adds the three forms to Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register the three forms."""
        md.preprocessors.register(_DocstringForm(md), "docstring-formula", 35)
        md.inlinePatterns.register(_Formula(r"\$\$(.+?)\$\$", md, "block"), "display-formula", _ABOVE_ESCAPES + 1)
        md.inlinePatterns.register(_Formula(r"\$(?!\s)([^$]+?)(?<!\s)\$", md, "inline"), "formula", _ABOVE_ESCAPES)


def on_config(config: Any) -> Any:
    """Enable formulas on pages and in docstrings."""
    config.markdown_extensions.append(Formulas())
    return config
