"""Read texts from tables: delimited lines and parquet files, a few rows at a time."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator

from layerscope.errors import TextsError
from layerscope.texts.records import TextFields, record_text
from layerscope.texts.text import Text

__all__ = ["read_delimited", "read_parquet", "require_different"]

_LONGEST = 2**31 - 1  # characters of a field; the library's own limit is 131,072
_ROWS = 1024  # of a parquet file, read at a time


def read_delimited(lines: Iterable[tuple[int, str]], name: str, fields: TextFields, delimiter: str) -> Iterator[Text]:
    """Yield the text of each row of comma- or tab-separated values, whose first row names the columns.

    Quoted fields may contain delimiters and line ends. All values are strings.

    Raises
    ------
    TextsError
        Two columns have one name, a row has too few or too many fields, or a quoted field does not end.
    """
    csv.field_size_limit(_LONGEST)
    rows = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    number, header = 0, None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise TextsError(f"{name}: line {rows.line_num}: malformed table ({error})") from error
        if not row:  # an empty line
            continue
        if header is None:
            require_different(row, name)
            header = row
            continue
        place = f"{name}: line {rows.line_num}"
        if len(row) != len(header):
            raise TextsError(
                f"{place}: {len(row)} fields, and the first row names {len(header)} columns: quote fields with a delimiter"
            )
        yield record_text(dict(zip(header, row, strict=True)), number, fields, place)
        number += 1


def require_different(columns: Iterable[object], name: str) -> None:
    """Refuse columns of one name.

    Raises
    ------
    TextsError
        Two columns have one name.
    """
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise TextsError(f"{name}: {twice[0]!r} names more than one column: rename one")


def read_parquet(path: str, fields: TextFields) -> Iterator[Text]:
    """Yield the text of each row of a parquet file; only the columns of the fields are read.

    Raises
    ------
    TextsError
        The library is missing, the file cannot be read, or a column is missing.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise TextsError(f"{path}: needs the pyarrow library: pip install 'layerscope[bench]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            names: list[str] = file.schema_arrow.names
            require_different(names, path)
            batches = file.iter_batches(batch_size=_ROWS, columns=fields.columns(names))
            records = (record for batch in batches for record in batch.to_pylist())
            for number, record in enumerate(records):
                yield record_text(record, number, fields, f"{path}: row {number + 1}")
    except (ArrowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TextsError(f"{path}: cannot be read as a parquet file: {reason}") from error
