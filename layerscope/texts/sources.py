"""Open texts: files, datasets, built-in passages and objects of Python. Independent of tokens."""

import os
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

from layerscope.errors import TextsError, UsageError, at_least, unknown_name
from layerscope.texts.files import SPLITS, STDIN, file_reader, read_json_lines, stdin_reader
from layerscope.texts.hub import hub_reader, is_saved_dataset, saved_dataset_reader
from layerscope.texts.python_objects import read_object, require_texts
from layerscope.texts.records import TextFields
from layerscope.texts.text import Text

__all__ = ["BUILTIN", "Text", "TextSource", "Texts", "open_texts"]

Texts = Any
"""A source of texts: see `open_texts`. Objects of Python have no type in common."""

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
            if text.blank:
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
    source: Texts,
    *,
    field: str | None = None,
    metadata: tuple[str, ...] = (),
    split: str = SPLITS[0],
    chat: bool = False,
    limit: int | None = None,
) -> TextSource:
    r"""Open a source of texts.

    Nothing is read yet; only the presence of the file or dataset is checked.

    Parameters
    ----------
    source
        ``builtin:passages``; the path of a ``.txt``, ``.jsonl``, ``.csv`` or ``.tsv``, each also gzipped, or of a ``.parquet``;
        a folder that the datasets library has saved; ``hf:DATASET/SPLIT``, also ``hf:owner/name:config/split``; ``-`` for
        standard input; or the texts themselves, as in `layerscope.texts.python_objects.read_object`.
        Files are UTF-8; only ``\n`` or ``\r\n`` ends a line.
    field
        The field with the text or the token ids; a dot reaches into nested records. None means ``text``, or ``input_ids`` in
        records without it.
    metadata
        Fields to keep of each text.
    split
        What separates the texts of a ``.txt``: ``"line"`` or ``"blank-line"``.
    chat
        Whether the texts are conversations: lists of messages, in the field ``messages`` if none is named.
    limit
        Maximum number of texts, blank ones not counted.

    Returns
    -------
    TextSource
        An iterable that can be read repeatedly, unless `source` is an iterator or standard input.

    Raises
    ------
    UsageError
        The built-in name, the extension or the ``hf:`` form is unknown; the limit is below 1; the source has no fields; the
        object holds no texts.
    TextsError
        The file is missing or a directory, or the dataset cannot be opened.

    Examples
    --------
    >>> texts = open_texts("builtin:passages", limit=2)
    >>> [text.id for text in texts]
    ['p001', 'p002']
    """
    at_least(1, limit=limit, remedy="leave it out to take every text")
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    fields = TextFields(field, metadata, chat)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        return TextSource(name, _reader(source, name, fields, split), limit=limit, once=name == STDIN)
    require_texts(source)
    if split != SPLITS[0]:
        raise UsageError(f"split {split!r} is for plain files; texts given in Python are separate already")
    return TextSource("iterable", lambda: read_object(source, fields), limit=limit, once=isinstance(source, Iterator))


def _reader(source: str | os.PathLike[str], name: str, fields: TextFields, split: str) -> Callable[[], Iterator[Text]]:
    scheme, colon, rest = name.partition(":")
    # A path object is always a path, even if it starts like a scheme.
    if not isinstance(source, str) or not colon or scheme not in ("builtin", "hf"):
        if name == STDIN:
            return stdin_reader(fields, split)
        return saved_dataset_reader(name, fields) if is_saved_dataset(name) else file_reader(name, fields, split)
    if split != SPLITS[0]:
        raise UsageError(f"{name}: --split {split} is for plain texts; a dataset has a text a record")
    if scheme == "hf":
        return hub_reader(name, fields)
    if rest not in BUILTIN:
        raise unknown_name("built-in texts", name, [f"builtin:{known}" for known in BUILTIN])
    resource = resources.files("layerscope.texts") / f"{rest}.jsonl"
    return lambda: read_json_lines(lambda: resource.open("rb"), name, fields)
