"""Remove a space that is not needed any more, or an index with all its spaces."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tasks.core.csv_parts import batch_of, open_part, parts_in
from tasks.core.database.connections import Connection, Database, open_database
from tasks.core.database.statements import Identifier, statements_of
from tasks.core.errors import InvalidInput
from tasks.core.maintenance.rollback import choose_space
from tasks.core.runs.accounting import count_sent, sum_up
from tasks.core.runs.run import RunIdentity, run_directory
from tasks.core.runs.space_lock import SpaceLock
from tasks.core.settings import Settings
from tasks.core.spaces.registry import Space, SpaceKind, count_rows, list_spaces
from tasks.core.spaces.view import drop_view, hold_index
from tasks.core.types import Counts

sql = statements_of(__name__)
runs = statements_of("tasks.core.runs.runs")


@dataclass(frozen=True, slots=True)
class DroppedSpace:
    """A space that is there no more, and how many vectors it had."""

    space: Space
    vectors: int


async def drop_space(
    database: Database, settings: Settings, index: str, space_id: int
) -> DroppedSpace:
    """Delete a space that readers do not see: its vectors, its refusals, and the work for it.

    Raises:
        InvalidInput: there is no such space, or it is the one that readers see.
        SpaceBusy: a run holds the space.
        PartInUse: a process of a dead run still writes.
    """
    async with database.connection() as connection:
        space = choose_space(await list_spaces(connection, index), index, space_id)
    _require_not_shown(space)
    async with held_space(database, space.kind, "birdwalk drop-space"):
        await _settle_dead_runs(database, settings, space)
        async with database.transaction() as connection:
            # A rollback may have shown it meanwhile.
            await hold_index(connection, index)
            space = choose_space(await list_spaces(connection, index), index, space_id)
            _require_not_shown(space)
            vectors = await count_rows(connection, space)
            await _delete_space(connection, space)
    return DroppedSpace(space, vectors)


async def drop_index(settings: Settings, index: str) -> None:
    """Remove an index with its view, its images and all its spaces; the runs' history stays.

    Raises:
        SpaceBusy: a run holds one of its spaces.
        PartInUse: a process of a dead run still writes.
        IndexNameTaken: the name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's.
    """
    async with open_database(settings) as database, AsyncExitStack() as stack:
        async with database.connection() as connection:
            spaces = await list_spaces(connection, index)
        for space in spaces:
            held = held_space(database, space.kind, "birdwalk drop-index")
            await stack.enter_async_context(held)
        for space in spaces:
            await _settle_dead_runs(database, settings, space)
        async with database.transaction() as connection:
            await hold_index(connection, index)
            await drop_view(connection, index)
            await connection.execute(sql("show_nothing"), index)
            for space in spaces:
                await _delete_space(connection, space)
            await connection.execute(sql("delete_listings"), index)
            index_id = await connection.fetchval(sql("delete_index"), index)
            images = Identifier(f"images_{index_id}", "birdwalk")
            await connection.execute(sql("drop_table", table=images))


@asynccontextmanager
async def held_space(database: Database, space: SpaceKind, name: str) -> AsyncIterator[None]:
    """Hold a space in the block, as a run does.

    Raises:
        SpaceBusy: a run holds it.
    """
    lock = SpaceLock(database, space, name)
    await lock.take()
    try:
        yield
    finally:
        await lock.release()


def _require_not_shown(space: Space) -> None:
    if space.status == "active":
        raise InvalidInput(
            f"Space {space.space_id} is what index {space.index!r} shows: it was left alone."
            " Publish another space first."
        )


async def _settle_dead_runs(database: Database, settings: Settings, space: Space) -> None:
    """Close the runs of a held space that were killed, count what they had paid for, and remove it.

    What a CSV part holds was answered, so it was paid for; nobody will load it any more. Parts on
    another machine's disk are not found.
    """
    kind = (space.index, space.model, space.dimension, space.preprocessing)
    async with database.transaction() as connection:
        for dead in await connection.fetch(runs("bury_dead_runs"), *kind, 0):
            await sum_up(connection, dead["run_id"], dead["model"])
        unfinished = await connection.fetch(sql("select_unfinished_runs"), *kind)
    for row in unfinished:
        directory = run_directory(settings, RunIdentity(row["run_id"], row["run_key"])) / "parts"
        for path in parts_in(directory):
            with await open_part(path, space.dimension) as part:
                answers = len(part.finished)
                sent = {batch_of(path): Counts(calls=answers, answers=answers)}
                async with database.transaction() as connection:
                    await count_sent(connection, row["run_id"], sent)
                    await sum_up(connection, row["run_id"], space.model)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _delete_space(connection: Connection, space: Space) -> None:
    kind = (space.index, space.model, space.dimension, space.preprocessing)
    await connection.execute(sql("delete_work"), *kind)
    await connection.execute(sql("delete_space"), space.space_id)
    await connection.execute(sql("drop_table", table=space.vectors))
