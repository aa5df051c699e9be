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
        lock: takes the lock; {space} is the space's table, {gone} an image that has left the
            bucket, {kept} one in a dead run's part.
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


REGISTRY, OBJECTS, PENDING = "birdwalk.spaces", "birdwalk.objects", "birdwalk.pending"
REFUSALS = "birdwalk.refusals"

MOMENTS = (
    Moment("list", _lock(OBJECTS), statement="DELETE FROM birdwalk.objects"),
    Moment("create table", _lock(REGISTRY), statement="INSERT INTO birdwalk.spaces"),
    Moment("plan", _lock(PENDING), statement="DELETE FROM birdwalk.pending", second_run=True),
    Moment("reuse", _lock(REFUSALS), statement="birdwalk.refusals"),
    # No batch is inserted, so that all the dead run leaves is in its parts.
    Moment("embed", _lock("{space}"), "the calls"),
    Moment(
        "recover parts",
        # The key waits for ours: it may yet be there first.
        "INSERT INTO {space} (bucket, image_id, generation, embedding)"
        " VALUES ('{bucket}', '{kept}', 1, '[1{zeros}]')",
        statement="FROM stage",
    ),
    Moment("copy a batch", _lock("{space}"), "the calls", "COPY"),
    Moment("insert a batch", _lock(REFUSALS), "the calls", "birdwalk.refusals"),
    Moment("reuse for twins", _lock(REFUSALS), "the CSV", "birdwalk.refusals"),
    Moment(
        "remove gone",
        "SELECT FROM {space} WHERE image_id = '{gone}' FOR UPDATE",
        statement="DELETE FROM",
        past="the CSV",
    ),
    # Long before it: what comes between does not wait for this lock.
    Moment(
        "build index",
        _lock("{space}", "SHARE UPDATE EXCLUSIVE"),
        "the calls",
        "VACUUM",
        past="the CSV",
    ),
    Moment("verify", _lock(REGISTRY), "the CSV", "UPDATE birdwalk.spaces"),
    Moment(
        "record the verdict",
        _lock(REGISTRY),
        "the CSV",
        "UPDATE birdwalk.runs",
        then="SELECT FROM birdwalk.runs WHERE verdict = 'running' FOR UPDATE",
    ),
)

PUBLISH = Moment(
    "publish",
    "SELECT FROM birdwalk.spaces WHERE status = 'active' FOR UPDATE",
    statement="UPDATE birdwalk.spaces SET status = 'retired'",
)
"""Of a run with another dimension: the view is made anew, and the old space waits for the lock."""


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
