"""Count the signs of old-fashioned English in docstrings, comments, messages and pages.

Run it to see where they are, worst file first::

    python -m tests.old_style                        # all counts by phrase and by file
    python -m tests.old_style layerscope/store       # every line of some files
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

GENERATED = (
    "measures.md",
    "models.md",
    "commands.md",
    "gallery.md",
    "scale.md",
)  # by docs/generate.py, where the site was built

# Each has a plainer word: the comment gives it where that is not obvious.
PHRASES = {
    "beside": r"\bbeside\b",  # next to, with, and
    "stand": r"\b(?:stands?|stood|standing)\b",  # is, are in, is written in
    "told": r"\btold\b",  # given, passed
    "say": r"\b(?:says?|said|saying)\b",  # report, state, print, mean
    "so many": r"\bso many\b",  # the number
    "go on": r"\b(?:go|goes|going|went) on\b",  # continue
    "go by": r"\b(?:go|goes|going) by\b",  # stream
    "one by one": r"\bone by one\b|\bone after (?:another|the other)\b",  # in turn, in order
    "held": r"\b(?:is|are|be|been|was|were) held\b",  # in memory, checked
    "has not": r"\b(?:has|have) (?:not|none)\b(?! been)",  # lacks, does not have
    "at hand": r"\bat hand\b",  # available
    "in earnest": r"\bin earnest\b",
    "nothing but": r"\bnothing but\b",  # only
    "nothing else": r"\bnothing else\b",  # only
    "anew": r"\banew\b",  # again
    "as it is": r"\bas (?:it|they) (?:is|are|stands?|lies?|lie)\b",  # unchanged
    "lie": r"\b(?:lies|lay|lain)\b",  # is, are stored
    "whoever": r"\b(?:whoever|whomever|whatever|whichever)\b",  # any
    "by itself": r"\bby (?:itself|themselves)\b",  # alone
    "alone": r"\bknows? (?:no|nothing)\b",  # does not import
    "of its own": r"\bof (?:its|their) own\b",  # own, separate
    "somebody": r"\b(?:somebody|nobody|no one)\b",  # the caller, none
    "ask for": r"\basked (?:for|of)\b",  # requested
    "what it": r"\b[Ww]hat (?:it|they|is|are|was|were|has|have)\b",  # name the thing
    "that which": r"\bthat which\b|\bthose which\b",
    "in words": r"\bin words\b",  # as text
    "let": r"\b(?:lets?) (?:be|it|them|go)\b",  # leave, allow
    "come": r"\b(?:comes?|came) (?:by|to|from|of|first|last|back)\b",  # is computed from, arrives
    "else": r"\bor else\b",  # otherwise
    "needs no": r"\b(?:needs?|takes?|makes?|gives?|finds?) (?:no|none)\b",  # does not need
    "meant": r"\b(?:is|are) meant\b",  # for
    "belong": r"\bbelongs? together\b",  # correspond
    "worth": r"\b(?:is|are) worth\b",
    "whole": r"\bas wholes?\b|\bfor whole\b",
    "likeness": r"\b(?:its|their) like\b|\blikeness\b",
    "thought": r"\bthought of\b",
}
PATTERNS = {phrase: re.compile(pattern, re.IGNORECASE) for phrase, pattern in PHRASES.items()}


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines of prose with their numbers: of Python, docstrings, comments and texts of more than one word."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                for offset, line in enumerate(node.value.splitlines()):
                    yield node.lineno + offset, line
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    else:
        fenced = False
        for number, line in enumerate(source.splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            if not fenced:
                yield number, line


def files() -> list[Path]:
    """Return the files whose prose is counted."""
    pages = {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")}
    pages -= {ROOT / "docs" / name for name in GENERATED}
    code = [*(ROOT / "layerscope").rglob("*.py"), *(ROOT / "analyses").glob("*.py"), *(ROOT / "docs").glob("*.py")]
    stories = ROOT / "layerscope" / "evaluation"  # the texts of tasks are data
    return sorted({*pages, *(path for path in code if not (path.is_relative_to(stories) and _is_task(path)))})


def _is_task(path: Path) -> bool:
    return path.stem in {"cloze", "commonsense", "order", "arithmetic"}


def count(paths: list[Path]) -> tuple[Counter[str], Counter[str]]:
    """Count phrases, and phrases by file."""
    phrases: Counter[str] = Counter()
    by_file: Counter[str] = Counter()
    for path in paths:
        for _, line in prose_of(path):
            for phrase, pattern in PATTERNS.items():
                hits = len(pattern.findall(line))
                phrases[phrase] += hits
                by_file[str(path.relative_to(ROOT))] += hits
    return phrases, by_file


def main() -> None:
    """Print counts, or every line of the files that are named."""
    if sys.argv[1:]:
        named = [Path(name).resolve() for name in sys.argv[1:]]
        for path in files():
            if any(path == name or path.is_relative_to(name) for name in named):
                for number, line in prose_of(path):
                    hits = [phrase for phrase, pattern in PATTERNS.items() if pattern.search(line)]
                    if hits:
                        print(f"{path.relative_to(ROOT)}:{number}: [{', '.join(hits)}] {line.strip()}")
        return
    phrases, by_file = count(files())
    for phrase, hits in phrases.most_common():
        print(f"{hits:6} {phrase}")
    print(f"{sum(phrases.values()):6} all")
    for name, hits in by_file.most_common(40):
        print(f"{hits:6} {name}")


if __name__ == "__main__":
    main()
