"""The schema of a capture file: names, dtypes and attributes.

A capture file is an HDF5 file that xarray opens without LayerScope::

    hidden(token, layer, feature)    float32, float16 or bfloat16
    attn_out(token, block, feature)  the same dtype: what attention of each block adds; optional
    mlp_out(token, block, feature)   the same dtype: what its MLP adds; optional
    final_norm(token, feature)       the same dtype; optional
    layer(layer)                     int64   state numbers
    layer_name(layer)                string  embedding, block.0, ...
    block(block)                     int64   block numbers; with attn_out or mlp_out
    block_name(block)                string  block.0, ...
    sequence_index(token)            int64   which sequence a row belongs to
    position(token)                  int32   0-based position within the sequence
    token_id(token)                  int32
    sequence_id(sequence)            string
    sequence_length(sequence)        int32   tokens that the model ran on, stored or not
    char_start(token)                int32   where a token's characters begin in its text; these three optional
    char_end(token)                  int32   where they end; equal to the start for a token without characters
    text_hash(sequence)              int64   of the text
    token_string(token)              string  the name of the token in the vocabulary; optional
    role(token)                      string  the role whose token it is, in a conversation; optional
    generated(token)                 bool    whether the model generated the token; optional
    NAME(sequence)                   each field of the metadata of the texts; optional
    token, feature, sequence         dimension scales without values (netCDF's "dimension but not a variable")

A file has at least one of the first three. ``layer`` and ``layer_name`` come with ``hidden``. The attribute ``coordinates`` of
each variable of states names the variables that label its axes.

The committed rows, the settings and the checksums, which only ``--resume`` needs, are attributes of the dimension scale
``token``. Neither xarray nor netCDF4 shows them there, and the attributes of the file are exactly those of the contract. This
module opens no file.
"""

from collections.abc import Mapping

import numpy as np
import torch

from layerscope.store.file_schema import FileSchema, Holds, Variable

__all__ = [
    "ATTN_OUT",
    "BLOCK",
    "BLOCK_NAME",
    "CAPTURE",
    "CHAR_END",
    "CHAR_START",
    "CHECKSUM",
    "COMMITTED",
    "COMPLETE",
    "COORDINATES",
    "FEATURE",
    "FILE_ATTRIBUTES",
    "FINAL_NORM",
    "GENERATED",
    "HIDDEN",
    "INDEX_CHECKSUM",
    "INDEX_DTYPES",
    "LAYER",
    "LAYER_NAME",
    "MLP_OUT",
    "PLACEMENT_CHECKSUM",
    "POSITION",
    "ROLE",
    "SEQUENCE",
    "SEQUENCE_ID",
    "SEQUENCE_INDEX",
    "SEQUENCE_LENGTH",
    "SETTINGS",
    "STATES",
    "STORE_DTYPES",
    "TEXT_HASH",
    "TOKEN",
    "TOKEN_ID",
    "TOKEN_STRING",
    "VERSION",
    "Attribute",
    "chunk_tokens",
    "dimension_only",
    "plain_attributes",
]

Attribute = str | int | float

TOKEN, LAYER, BLOCK, FEATURE, SEQUENCE = "token", "layer", "block", "feature", "sequence"
HIDDEN, FINAL_NORM, ATTN_OUT, MLP_OUT = "hidden", "final_norm", "attn_out", "mlp_out"
LAYER_NAME, BLOCK_NAME = "layer_name", "block_name"
SEQUENCE_INDEX, POSITION, TOKEN_ID = "sequence_index", "position", "token_id"
SEQUENCE_ID, SEQUENCE_LENGTH = "sequence_id", "sequence_length"
CHAR_START, CHAR_END, TEXT_HASH = "char_start", "char_end", "text_hash"
TOKEN_STRING, ROLE, GENERATED = "token_string", "role", "generated"

INDEX_DTYPES: dict[str, np.dtype[np.signedinteger]] = {
    SEQUENCE_INDEX: np.dtype("<i8"),
    POSITION: np.dtype("<i4"),
    TOKEN_ID: np.dtype("<i4"),
    SEQUENCE_LENGTH: np.dtype("<i4"),
    LAYER: np.dtype("<i8"),
    BLOCK: np.dtype("<i8"),
    CHAR_START: np.dtype("<i4"),
    CHAR_END: np.dtype("<i4"),
    TEXT_HASH: np.dtype("<i8"),
}

_OF_TOKENS = f"{SEQUENCE_INDEX} {POSITION} {TOKEN_ID}"
COORDINATES = {
    HIDDEN: f"{LAYER_NAME} {_OF_TOKENS}",
    ATTN_OUT: f"{BLOCK_NAME} {_OF_TOKENS}",
    MLP_OUT: f"{BLOCK_NAME} {_OF_TOKENS}",
    FINAL_NORM: _OF_TOKENS,
}
"""The attribute ``coordinates`` of the variables that hold states."""

STATES = {HIDDEN: (LAYER, LAYER_NAME), ATTN_OUT: (BLOCK, BLOCK_NAME), MLP_OUT: (BLOCK, BLOCK_NAME)}
"""The variables that measures read, at least one of which a file has; and the numbers and names of what each is of."""

STORE_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Storage types, by their names on the command line."""

COMPLETE = "complete"
VERSION = "layerscope_version"
FILE_ATTRIBUTES = (
    VERSION,
    "model",
    "architecture",
    "num_blocks",
    "parameters",
    "backend",
    "compute_dtype",
    "schedule",
    "schedule_blocks",
    "texts",
    "truncated_sequences",
    "skipped_texts",
    COMPLETE,
    "provenance",
)
"""The attributes of every capture file. The writer sets `COMPLETE`; its caller passes the others."""

COMMITTED, SETTINGS = "committed", "settings"
"""Attributes of the dimension scale ``token``: rows safely written, the sum of their numbers and a checksum of the two;
settings as JSON."""
CHECKSUM, INDEX_CHECKSUM, PLACEMENT_CHECKSUM = "checksum", "index_checksum", "placement_checksum"
"""Further attributes of ``token``: see `layerscope.store.checksums`."""

CAPTURE = FileSchema(
    kind="LayerScope capture",
    command="capture",
    remedy="capture it again with --overwrite",
    as_stored=True,
    variables={
        HIDDEN: Variable((TOKEN, LAYER, FEATURE), Holds.FLOAT),
        LAYER: Variable((LAYER,), Holds.INTEGER),
        LAYER_NAME: Variable((LAYER,), Holds.TEXT),
        SEQUENCE_INDEX: Variable((TOKEN,), Holds.INTEGER, required=True),
        POSITION: Variable((TOKEN,), Holds.INTEGER, required=True),
        TOKEN_ID: Variable((TOKEN,), Holds.INTEGER, required=True),
        SEQUENCE_ID: Variable((SEQUENCE,), Holds.TEXT, required=True, may_label=TOKEN),
        SEQUENCE_LENGTH: Variable((SEQUENCE,), Holds.INTEGER, required=True),
        FINAL_NORM: Variable((TOKEN, FEATURE), Holds.FLOAT),
        CHAR_START: Variable((TOKEN,), Holds.INTEGER),
        CHAR_END: Variable((TOKEN,), Holds.INTEGER),
        TEXT_HASH: Variable((SEQUENCE,), Holds.INTEGER),
        TOKEN_STRING: Variable((TOKEN,), Holds.TEXT),
        ROLE: Variable((TOKEN,), Holds.TEXT),
        GENERATED: Variable((TOKEN,), Holds.INTEGER),
        ATTN_OUT: Variable((TOKEN, BLOCK, FEATURE), Holds.FLOAT),
        MLP_OUT: Variable((TOKEN, BLOCK, FEATURE), Holds.FLOAT),
        BLOCK: Variable((BLOCK,), Holds.INTEGER),
        BLOCK_NAME: Variable((BLOCK,), Holds.TEXT),
    },
    one_of=STATES,
    attributes=dict.fromkeys(FILE_ATTRIBUTES, str)
    | dict.fromkeys(("num_blocks", "parameters", "truncated_sequences", "skipped_texts", COMPLETE), int),
    required_attributes=(VERSION, COMPLETE),
    variable_attributes={SETTINGS: str, CHECKSUM: str, INDEX_CHECKSUM: str, PLACEMENT_CHECKSUM: str},
)
"""What a capture file must contain before anything reads it."""

_CHUNK_TOKENS = 256
_CHUNK_BYTES = 4 * 2**20


def dimension_only(size: int) -> str:
    """Return the name by which netCDF4 knows a dimension scale that has no values."""
    return f"This is a netCDF dimension but not a netCDF variable.{size:10d}"


def chunk_tokens(tokens: int, width: int, itemsize: int) -> int:
    """Return how many tokens of one layer share a chunk: 256, fewer for short captures and for very wide models.

    Examples
    --------
    >>> chunk_tokens(tokens=100_000, width=576, itemsize=2), chunk_tokens(tokens=7, width=576, itemsize=2)
    (256, 7)
    >>> chunk_tokens(tokens=100_000, width=16_384, itemsize=4)
    64
    """
    return max(1, min(_CHUNK_TOKENS, tokens, _CHUNK_BYTES // (width * itemsize)))


def plain_attributes(attributes: Mapping[str, object]) -> dict[str, Attribute]:
    """Return the attributes as plain str, int and float.

    Raises
    ------
    TypeError
        A value has another type: a programming error.

    Examples
    --------
    >>> import numpy as np
    >>> plain_attributes({"num_blocks": np.int64(6), "model": "tiny"})
    {'num_blocks': 6, 'model': 'tiny'}
    """
    plain: dict[str, Attribute] = {}
    for name, given in attributes.items():
        value = given.item() if isinstance(given, np.generic) else given
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"attribute {name!r} is {type(given).__name__}: a capture file stores str, int and float")
        plain[name] = value
    return plain
