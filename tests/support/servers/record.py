"""A record of every answer about a picture, which outlives a killed server.

One line an answer, written before the answer leaves: what the caller may have to pay for. A line
that is cut short is still being written, or its server was killed: that answer has not left.
"""

import base64
import hashlib
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """An answer about a picture.

    Attributes:
        at: when, in Unix seconds.
        uri: the picture's gs:// address; None where the call held its bytes.
        content: the md5 of the picture's bytes, as Cloud Storage lists it.
    """

    at: float
    uri: str | None
    content: str


def content_of(data: bytes) -> str:
    """Return the md5 of bytes as Cloud Storage lists it: in base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def record_answer(record: str, uri: str | None, content: str) -> None:
    """Add an answer to the record; the line survives a kill of this process."""
    # It also begins with a newline: the line before may be cut short.
    line = b"\n%b\n" % orjson.dumps(asdict(AnsweredCall(time.time(), uri, content)))
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read_record(record: Path) -> list[AnsweredCall]:
    """Return the answers so far, the oldest first."""
    if not record.exists():
        return []
    lines = record.read_bytes().split(b"\n")
    return [AnsweredCall(**orjson.loads(line)) for line in lines if line.endswith(b"}")]
