"""Finish the batches of dead runs: load the vectors in their CSV parts, which are paid for.

A part names objects; the dead run's work list in Postgres says which content, and which version of
the object, each row is of. The price stays the dead run's. A part on another machine's disk is not
found, and its contents are paid for again.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.core.csv_parts import batch_of, open_part, parts_in, read_part
from tasks.core.database.statements import statements_of
from tasks.core.google.versions import find_overwritten
from tasks.core.runs.accounting import finish_batch, read_sent, sum_up
from tasks.core.runs.run import Run, RunIdentity, run_directory
from tasks.core.runs.space_lock import require_running
from tasks.core.spaces.rows import Row, load_vectors
from tasks.core.types import Image

sql = statements_of(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Contents that dead runs had paid for."""

    contents: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.contents)


@dataclass(frozen=True, slots=True)
class _DeadRun:
    run_id: int
    bucket: str
    model: str
    parts: Path


async def find_paid(run: Run) -> Recovered:
    """Return what load_paid would load, and leave it where it is."""
    contents: list[str] = []
    async for dead in _dead_runs(run):
        for part in parts_in(dead.parts):
            contents += [key for key, _ in await _read_confirmed(run, dead, part)]
    return Recovered(tuple(contents))


async def load_paid(run: Run) -> Recovered:
    """Load what dead runs of the space had paid for, each part in a transaction of its own.

    Raises:
        PartInUse: a process of a dead run still writes.
        StorageError: the bucket does not say which versions are still there.
    """
    contents: list[str] = []
    async for dead in _dead_runs(run):
        for part in parts_in(dead.parts):
            with await open_part(part, run.space.dimension):
                rows = await _read_confirmed(run, dead, part)
                answers = len(read_part(part, run.space.dimension))
                await _load(run, dead, batch_of(part), rows, answers)
                part.unlink(missing_ok=True)
            contents += [key for key, _ in rows]
        with suppress(OSError):  # something was put there meanwhile
            dead.parts.rmdir()
    return Recovered(tuple(contents))


async def _dead_runs(run: Run) -> AsyncIterator[_DeadRun]:
    """Yield the dead runs of the space whose parts are on this disk."""
    options = run.options
    async with run.database.connection() as connection:
        rows = await connection.fetch(
            sql("select_dead_runs"),
            options.index,
            options.model,
            options.dimension,
            options.preprocessing,
            run.run_id,
        )
    for row in rows:
        identity = RunIdentity(row["run_id"], row["run_key"])
        parts = run_directory(run.settings, identity) / "parts"
        if parts.is_dir():
            yield _DeadRun(row["run_id"], row["bucket"], row["model"], parts)


async def _read_confirmed(run: Run, dead: _DeadRun, part: Path) -> list[Row]:
    """Return the contents and vectors of a part, but for objects that may have been overwritten.

    The dead run died before it could look which of its answers are of the versions it had listed.
    """
    vectors = read_part(part, run.space.dimension)
    async with run.database.connection() as connection:
        asked = await connection.fetch(sql("select_asked"), dead.run_id, batch_of(part))
    images = [
        Image(dead.bucket, row["image_id"], row["generation"], row["content_key"])
        for row in asked
        if row["image_id"] in vectors
    ]
    overwritten: frozenset[str] = frozenset()
    if not run.clients.pictures.reads_the_listed_version:
        overwritten = await find_overwritten(run.clients.storage, images)
    return [
        (image.content_key, vectors[image.image_id])
        for image in images
        if image.image_id not in overwritten
    ]


async def _load(run: Run, dead: _DeadRun, batch: int, rows: list[Row], answers: int) -> None:
    async with run.database.transaction() as connection:
        await require_running(connection, run.run_id)
        counts = await read_sent(connection, dead.run_id, batch)
        counts.embedded = len(rows)
        counts.calls, counts.answers = max(counts.calls, answers), max(counts.answers, answers)
        if await finish_batch(connection, dead.run_id, batch, counts):
            await load_vectors(connection, run.space, rows)
            await connection.execute(sql("update_run_recovered"), run.run_id, len(rows))
            await sum_up(connection, dead.run_id, dead.model)
            run.vectors_written = True
