"""Damage any file, or a journal, in place. Each function takes a path and a random generator."""

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Damage = Callable[[Path, random.Random], None]


def flip_bytes(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 4, 32))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def flip_header(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 8))):
        content[draw.randrange(min(len(content), 8192))] = draw.randrange(256)
    path.write_bytes(content)


def zero_block(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start, length = draw.randrange(len(content)), draw.choice((8, 64, 512))
    content[start : start + length] = bytes(len(content[start : start + length]))
    path.write_bytes(content)


def truncate(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def random_bytes(path: Path, draw: random.Random) -> None:
    start = b"\x89HDF\r\n\x1a\n" if draw.random() < 0.5 else b""
    path.write_bytes(start + draw.randbytes(draw.randrange(5000)))


def empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def directory(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def spoil_database(path: Path, draw: random.Random) -> None:
    """Change a journal with an SQL statement."""
    statements = (
        "UPDATE results SET batch = batch + 1",
        "UPDATE results SET batch = 9 - batch",
        "UPDATE results SET run = run + 100",
        "UPDATE results SET task = 1",
        "UPDATE results SET arrays = x'00'",
        "UPDATE results SET arrays = (SELECT arrays FROM results ORDER BY run DESC LIMIT 1)",
        "UPDATE sums SET batch = 0",
        "DELETE FROM sums",
        "DELETE FROM results",
        "DELETE FROM settings",
        "UPDATE settings SET text = '[1'",
        "UPDATE settings SET text = 3",
        f"UPDATE settings SET text = '{'[' * 20_000}'",
        "DROP TABLE results",
        "DROP TABLE settings",
        "CREATE TABLE other (x)",
        "ALTER TABLE sums ADD COLUMN more",
        "INSERT INTO settings SELECT * FROM settings",
    )
    with closing(sqlite3.connect(path)) as database:
        database.execute(draw.choice(statements))
        database.commit()


ANY: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (flip_bytes, zero_block, truncate, random_bytes, empty, directory, pipe, device)
}
OF_SQLITE: dict[str, Damage] = {"spoil_database": spoil_database}
