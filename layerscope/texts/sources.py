"""Open texts: files, datasets, built-in passages and iterables of strings. Independent of tokens."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from importlib import resources

from layerscope.errors import TextsError, UsageError, at_least, unknown_name
from layerscope.texts.files import file_reader, read_json_lines
from layerscope.texts.hub import hub_reader
from layerscope.texts.text import DEFAULT_FIELD, Text, check_encodable

__all__ = ["BUILTIN", "Text", "TextSource", "open_texts"]

BUILTIN = ("passages",)
"""The names after ``builtin:``; each is a ``.jsonl`` file next to this module."""


class TextSource:
    """An iterable of the texts of a source that are not blank, read on demand.

    Attributes
    ----------
    name
        The source as given; ``iterable`` for texts given in Python.
    once
        True if the texts can be read only once, as those of a generator.
    skipped
        Number of blank texts skipped by the last iteration (so far, while it runs).

    Raises
    ------
    TextsError
        While iterating: a fault of the texts, with its place, or no text at all.
    UsageError
        The texts are read a second time and can be read only once.

    Examples
    --------
    >>> texts = open_texts(["one", "", "three"])
    >>> [text.id for text in texts], texts.skipped
    (['0', '2'], 1)
    """

    def __init__(
        self, name: str, read: Callable[[], Iterator[Text]], *, limit: int | None = None, once: bool = False
    ) -> None:
        self.name = name
        self.once = once
        self.skipped = 0
        self._read = read
        self._limit = limit
        self._begun = False

    def __iter__(self) -> Iterator[Text]:
        if self.once and self._begun:
            raise UsageError(f"{self.name}: these texts are from an iterator and were read before: give them as a list")
        self._begun = True
        self.skipped = 0
        return self._present()

    def _present(self) -> Iterator[Text]:
        """Yield the texts that are not blank; stop at the limit without reading further."""
        skipped = taken = 0
        for text in self._read():
            if not text.text.strip():
                skipped += 1
                self.skipped = skipped
                continue
            taken += 1
            yield text
            if taken == self._limit:
                return
        if not taken:
            found = f"{skipped} blank and no other" if skipped else "it is empty"
            raise TextsError(f"{self.name}: no text ({found}): give at least one")


def open_texts(
    source: str | os.PathLike[str] | Iterable[str], *, field: str | None = None, limit: int | None = None
) -> TextSource:
    r"""Open a source of texts.

    Nothing is read yet; only the presence of the file or dataset is checked.

    Parameters
    ----------
    source
        ``builtin:passages``; the path of a ``.txt`` (one text a line) or ``.jsonl`` (one object a line), either also
        gzipped; ``hf:DATASET/SPLIT``, also ``hf:owner/name:config/split``; or the texts themselves, as an iterable of str.
        Files are UTF-8; only ``\n`` or ``\r\n`` ends a line.
    field
        The field with the text in ``.jsonl`` and datasets. None means ``text``.
    limit
        Maximum number of texts, blank ones not counted.

    Returns
    -------
    TextSource
        An iterable that can be read repeatedly, unless `source` is an iterator.

    Raises
    ------
    UsageError
        The built-in name, the extension or the ``hf:`` form is unknown; the limit is below 1; the source has no fields.
    TextsError
        The file is missing or a directory, or the dataset cannot be opened.

    Examples
    --------
    >>> texts = open_texts("builtin:passages", limit=2)
    >>> [text.id for text in texts]
    ['p001', 'p002']
    """
    at_least(1, limit=limit, remedy="leave it out to take every text")
    if isinstance(source, Mapping | Set):
        raise UsageError(f"texts are a {type(source).__name__}, which has keys or no order: give a list of texts")
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        return TextSource(name, _reader(source, name, field), limit=limit)
    if field is not None:
        raise UsageError(f"texts given as an iterable have no field {field!r}: only .jsonl and hf: have fields")
    return TextSource("iterable", lambda: _read_strings(source), limit=limit, once=isinstance(source, Iterator))


def _reader(source: str | os.PathLike[str], name: str, field: str | None) -> Callable[[], Iterator[Text]]:
    scheme, colon, rest = name.partition(":")
    # A path object is always a path, even if it starts like a scheme.
    if not isinstance(source, str) or not colon or scheme not in ("builtin", "hf"):
        return file_reader(name, field)
    if scheme == "hf":
        return hub_reader(name, field)
    if rest not in BUILTIN:
        raise unknown_name("built-in texts", name, [f"builtin:{known}" for known in BUILTIN])
    resource = resources.files("layerscope.texts") / f"{rest}.jsonl"
    return lambda: read_json_lines(lambda: resource.open("rb"), name, DEFAULT_FIELD if field is None else field)


def _read_strings(strings: Iterable[object]) -> Iterator[Text]:
    for number, text in enumerate(strings):
        if not isinstance(text, str):
            raise TextsError(f"texts[{number}] is of type {type(text).__name__}, not str")
        yield check_encodable(Text(str(number), text), f"texts[{number}]")
