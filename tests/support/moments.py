"""The steps of a sync, each with a lock that makes it last, so that a kill hits even the short."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import asyncpg

from tests.support.databases import fetch

Since = Literal["the start", "the calls", "the CSV"]

WAITING = """
SELECT pid, query FROM pg_stat_activity WHERE $1::integer = ANY (pg_blocking_pids(pid)) LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of a run, and the lock that stops a run in it.

    Attributes:
        step: its name.
        lock: takes the lock; {vectors} and {images} are the tables, {gone} is an image that has
            left the bucket, {kept} a content in a dead run's part.
        since: when to take it: before that, the run's earlier steps would wait for it.
        then: a lock of a later step, to be taken while the run waits for the first.
        past: what the run must have behind it when it comes to this step.
        second_run: whether to see that another run of the index is sent away meanwhile.
        statement: what stands in the statement that waits, which shows that the step is meant;
            empty where it is the calls that are meant.
    """

    step: str
    lock: str
    since: Since = "the start"
    statement: str = ""
    then: str = ""
    past: Since = "the start"
    second_run: bool = False


def _lock(table: str, mode: str = "SHARE") -> str:
    return f"LOCK TABLE {table} IN {mode} MODE"


LISTINGS, WORK = "birdwalk.listings", "birdwalk.work"
VACUUM_WAITS = "SHARE UPDATE EXCLUSIVE"

MOMENTS = (
    Moment("list", _lock(LISTINGS), statement="DELETE FROM birdwalk.listings"),
    Moment("create table", _lock("birdwalk.spaces"), statement="INSERT INTO birdwalk.spaces"),
    Moment("plan", _lock(WORK), statement="DELETE FROM birdwalk.work", second_run=True),
    # No batch is inserted, so that all the dead run leaves is in its parts.
    Moment("embed", _lock("{vectors}"), "the calls"),
    Moment(
        "recover parts",
        # The key waits for ours: it may yet be there first.
        "INSERT INTO {vectors} (content_key, embedding) VALUES ('{kept}', '[1{zeros}]')",
        statement="COPY",
    ),
    Moment("copy a batch", _lock("{vectors}"), "the calls", "COPY"),
    Moment(
        "insert a batch", _lock("birdwalk.refusals"), "the calls", "DELETE FROM birdwalk.refusals"
    ),
    # Long before it: what comes between does not wait for this lock.
    Moment("build index", _lock("{vectors}", VACUUM_WAITS), "the calls", "VACUUM", past="the CSV"),
    Moment(
        "verify",
        _lock("{vectors}", VACUUM_WAITS),
        "the calls",
        "AS shown",
        then=_lock(LISTINGS, "ACCESS EXCLUSIVE"),
        past="the CSV",
    ),
    Moment("merge", _lock("{images}"), "the calls", "ON CONFLICT (bucket, image_id)"),
    Moment(
        "remove gone",
        "SELECT FROM {images} WHERE image_id = '{gone}' FOR UPDATE",
        statement="DELETE FROM",
        past="the CSV",
    ),
    Moment(
        "record the verdict",
        _lock("{images}", VACUUM_WAITS),
        "the calls",
        "UPDATE birdwalk.runs",
        then="SELECT FROM birdwalk.runs WHERE verdict = 'running' FOR UPDATE",
        past="the CSV",
    ),
)

PUBLISH = Moment(
    "publish", "SELECT FROM image_embeddings LIMIT 1", statement="CREATE OR REPLACE VIEW"
)
"""Of a run with another dimension: the view is led to another space, and waits for a reader."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock that is held, on a connection of its own."""

    url: str
    connection: asyncpg.Connection

    async def waiting(self) -> tuple[int, str] | None:
        """Return the process that waits for the lock, and its statement."""
        pid = self.connection.get_server_pid()
        rows = await fetch(self.url, WAITING, pid)
        return (rows[0][0], rows[0][1]) if rows else None

    def release(self) -> None:
        """Let it go; the server may be dead."""
        self.connection.terminate()


@asynccontextmanager
async def holding(url: str, lock: str) -> AsyncIterator[Hold]:
    """Take a lock, and let it go at the end."""
    connection = await asyncpg.connect(url)
    hold = Hold(url, connection)
    try:
        await connection.execute("BEGIN")
        await connection.execute(lock)
        yield hold
    finally:
        hold.release()
