"""The steps of a sync, each with a lock that makes it last, so that a kill hits even the short."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from tests.support.databases import fetch

WAITING = """
SELECT pid, query FROM pg_stat_activity WHERE $1::integer = ANY (pg_blocking_pids(pid)) LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of a run, and the lock that stops a run in it, taken before the run begins.

    Attributes:
        step: its name.
        lock: takes the lock; {vectors} and {images} are the tables of the space and the index,
            {gone} is an image that has left the bucket.
        statement: what stands in the statement that waits, which shows that the step is meant;
            empty where it is the calls that are meant.
        then: a lock of a later step, to be taken while the run waits for the first.
        past_csv: whether the run must have written its CSV when it comes to this step.
        second_run: whether to see that another run of the space is sent away meanwhile.
        overwrites: whether objects of a dead run's parts are overwritten before.
        changes: whether the bucket changes while the run calls.
    """

    step: str
    lock: str
    statement: str = ""
    then: str = ""
    past_csv: bool = False
    second_run: bool = False
    overwrites: bool = False
    changes: bool = False


def _lock(table: str, mode: str = "SHARE") -> str:
    return f"LOCK TABLE {table} IN {mode} MODE"


UNUSED = "birdwalk.unused_contents"

# A step whose statement an earlier one has too comes after one that leaves nothing to recover.
MOMENTS = (
    Moment("list", _lock("birdwalk.listings"), "DELETE FROM birdwalk.listings"),
    Moment(
        "create table",
        "SELECT pg_advisory_xact_lock(hashtext('birdwalk'))",
        "pg_advisory_xact_lock",
    ),
    Moment("plan", _lock("birdwalk.work"), "DELETE FROM birdwalk.work", second_run=True),
    # No batch is inserted, so that all the dead run leaves is in its parts.
    Moment("embed", _lock("{vectors}"), changes=True),
    Moment("recover", _lock("{vectors}"), "COPY", overwrites=True),
    Moment(
        "remove gone",
        "SELECT FROM {images} WHERE image_id = '{gone}' FOR UPDATE",
        "DELETE FROM",
        past_csv=True,
    ),
    Moment("copy a batch", _lock("{vectors}"), "COPY", changes=True),
    Moment("build index", _lock("{vectors}", "SHARE UPDATE EXCLUSIVE"), "VACUUM", past_csv=True),
    Moment("insert a batch", "SELECT FROM birdwalk.spaces FOR UPDATE", "SET writes", changes=True),
    Moment("publish", _lock("{images}"), "INSERT INTO", past_csv=True),
    Moment("prune", _lock(UNUSED), UNUSED, past_csv=True),
    Moment(
        "record the verdict",
        _lock(UNUSED),
        "UPDATE birdwalk.batches",
        then=_lock("birdwalk.batches"),
        past_csv=True,
    ),
)

SWITCH = Moment("switch", _lock("image_embeddings", "ACCESS SHARE"), "REPLACE VIEW", past_csv=True)
"""Of a run with another dimension: a reader is in the midst of a query of the view."""


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
