"""Rows of vectors in Postgres's binary COPY format, packed a batch at a time.

asyncpg packs value by value, and pgvector's codec array by array, in pieces of 512 kB; the server
waits meanwhile. Packed by numpy a row of 128 numbers takes half of that time, and pieces smaller
than a socket's buffer keep the server at work: 86 % of a server-side COPY instead of 63 %.

The format is in Postgres's documentation of COPY, "Binary Format"; a vector's in pgvector's
vector_send(). All numbers are big-endian.
"""

import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.core.types import Vector

Fields: TypeAlias = tuple[str, Vector]
"""A row of a text and a vector."""

BEGIN = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
ROW = struct.pack(">h", 2)

PIECE_BYTES = 64 * 1024
"""A Unix socket takes about 200 kB before its writer waits."""


async def pack_rows(rows: Sequence[Fields]) -> AsyncIterator[bytes]:
    """Yield rows as the bytes of a binary COPY, piece by piece; all vectors have one dimension."""
    yield BEGIN
    if rows:
        vectors = _pack_vectors(rows)
        step = max(1, PIECE_BYTES // vectors.itemsize)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            yield b"".join(_fields(rows[part], vectors[part].tobytes(), vectors.itemsize))
    yield END


def _fields(rows: Sequence[Fields], vectors: bytes, size: int) -> Iterator[bytes]:
    for start, (text, _) in zip(range(0, len(vectors), size), rows, strict=True):
        data = text.encode()
        yield ROW + len(data).to_bytes(4, "big") + data
        yield vectors[start : start + size]


def _pack_vectors(rows: Sequence[Fields]) -> NDArray[np.void]:
    """Return the vector of each row, after its length in bytes."""
    dimension = len(rows[0][1])
    layout = [
        *(("vector_bytes", ">i4"), ("dimension", ">i2"), ("unused", ">i2")),
        ("vector", ">f4", dimension),
    ]
    packed = np.zeros(len(rows), np.dtype(layout))
    packed["vector_bytes"] = 4 + 4 * dimension
    packed["dimension"] = dimension
    packed["vector"] = [row[1] for row in rows]
    return packed
