"""What is packed is what Postgres's binary COPY reads: each length, then its bytes, big-endian."""

import struct

import numpy as np

from tasks.core.database.binary_copy import BEGIN, END, PIECE_BYTES, Fields, pack_rows


async def packed(rows: list[Fields]) -> list[bytes]:
    return [piece async for piece in pack_rows(rows)]


def vector(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(numbers, dtype=np.float32)


async def test_a_row_is_packed_field_by_field() -> None:
    pieces = await packed([("naïve", vector(1.5, -2.0))])
    name = "naïve".encode()
    assert b"".join(pieces) == (
        BEGIN
        + struct.pack(">h", 2)
        + struct.pack(">i", len(name))
        + name
        + struct.pack(">ihhff", 4 + 8, 2, 0, 1.5, -2.0)
        + END
    )


async def test_no_rows_are_an_empty_copy() -> None:
    assert b"".join(await packed([])) == BEGIN + END


async def test_pieces_stay_small_and_hold_every_row_once() -> None:
    rows: list[Fields] = [(f"{number:06d}", vector(*[number] * 128)) for number in range(900)]
    pieces = await packed(rows)
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
    joined = b"".join(pieces)
    assert [joined.count(f"{number:06d}".encode()) for number in range(900)] == [1] * 900
