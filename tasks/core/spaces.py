"""The embedding spaces of an index, each with a table of its own; one of them is published."""

import logging
from typing import Any

import asyncpg

from tasks.core.errors import DatabaseError, GuardStopped
from tasks.core.holds import IndexHold
from tasks.core.postgres import Connection, open_database
from tasks.core.run import Run
from tasks.core.settings import Settings
from tasks.core.statements import Identifier, Literal, sql
from tasks.core.types import Space
from tasks.core.views import VIEW_COMMENT, refuse_a_taken_name, refuse_anothers_view
from tasks.core.wording import count

logger = logging.getLogger(__name__)


def space_table(space: Space) -> Identifier:
    """Return the table that holds a space's vectors."""
    return Identifier(space.table, "birdwalk")


def read_space(row: Any) -> Space:
    """Return the space of a registry row."""
    return Space(
        space_id=row["space_id"],
        index=row["index_name"],
        model=row["model"],
        dimension=row["dimension"],
        preprocessing=row["preprocessing"],
        table=f"space_{row['space_id']}",
        status=row["status"],
        ef_search=row["ef_search"],
    )


def _key(run: Run) -> tuple[str, str, int, str]:
    options = run.options
    return options.index, options.model, options.dimension, options.preprocessing


async def create_table(run: Run) -> Space:
    """Make the extension, the space's registry row and its table where they are missing.

    Raises:
        ExtensionMissing: the server has no pgvector, or one that is too old.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view would have to be replaced, and is another role's.
    """
    with run.timed("create_table"):
        await run.database.ensure_extension()
        async with run.database.transaction() as connection:
            await refuse_a_taken_name(connection, run.options.index)
            space = read_space(await connection.fetchrow(sql("insert_space"), *_key(run)))
            if space.status != "active":
                # Before anything is paid: the view will be another one.
                await refuse_anothers_view(connection, space.index)
            table = space_table(space)
            await connection.execute(
                sql(
                    "create_space_table",
                    table=table,
                    dimension=space.dimension,
                    unit_length=Identifier(f"{space.table}_unit_length"),
                )
            )
            await connection.execute(sql("set_parallel_workers", table=table))
    return space


async def find_space(run: Run) -> Space:
    """Return the space that the run fills.

    Raises:
        DatabaseError: create_table has not run, or the registry was emptied since.
    """
    async with run.database.connection() as connection:
        row = await connection.fetchrow(sql("select_space"), *_key(run))
    if row is None:
        raise DatabaseError(
            f"Index {run.options.index!r} has no space for {run.options.model} with"
            f" {run.options.dimension} dimensions and preprocessing {run.options.preprocessing}."
            f" Run create_table first."
        )
    return read_space(row)


async def count_stored(connection: Connection, run: Run) -> int:
    """Return the rows that the run's space has of the run's part of the bucket."""
    row = await connection.fetchrow(sql("select_space"), *_key(run))
    if row is None:
        return 0
    statement = sql("count_part", table=space_table(read_space(row)))
    return int(await connection.fetchval(statement, run.options.bucket, run.options.prefix))


async def publish(run: Run) -> Space:
    """Point the index's view at the run's space, in one transaction; the old space stays.

    Raises:
        GuardStopped: the run was a try-out, or its space has far fewer rows than the one that
            readers see now; they go on seeing that one.
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: another view depends on the index, or the user may not create views.
    """
    with run.timed("publish"):
        await run.hold.take()
        space = await find_space(run)
        async with run.database.transaction() as connection:
            exists = await refuse_a_taken_name(connection, space.index)
            if space.status != "active" or not exists:
                await _refuse_a_lesser_space(connection, run, space)
                await activate(connection, space)
            else:
                await _comment_view(connection, space)
        return await find_space(run)


async def _refuse_a_lesser_space(connection: Connection, run: Run, space: Space) -> None:
    """The gate checks what was listed; readers may have been shown more than that."""
    row = await connection.fetchrow(sql("select_active_space"), space.index, space.space_id)
    if row is None:
        return
    shown = read_space(row)
    before = await connection.fetchval(sql("count_rows", table=space_table(shown)))
    after = await connection.fetchval(sql("count_rows", table=space_table(space)))
    kept = f"The index still shows its {count(before, 'image')} in space {shown.space_id}."
    if run.options.limit is not None:
        raise GuardStopped(
            f"A try-out of {count(after, 'image')} with a limit does not replace what readers see."
            f" {kept} Try it under another index name, or run without the limit."
        )
    if after < (1 - run.options.max_deletions) * before:
        share = 1 - after / before
        raise GuardStopped(
            f"The new space has {count(after, 'image')}, {share:.1%} fewer than readers see now;"
            f" at most {run.options.max_deletions:.1%} may go. {kept} Fill the rest first (another"
            f" prefix or bucket?), or set max_deletions={min(1.0, share + 0.001):.3f}."
        )


async def activate(connection: Connection, space: Space) -> None:
    """Make a space the one that readers see, inside the caller's transaction.

    Raises:
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's.
    """
    await refuse_a_taken_name(connection, space.index)
    await refuse_anothers_view(connection, space.index)
    await _repoint_view(connection, space)
    await connection.execute(sql("retire_active_space"), space.index, space.space_id)
    await connection.execute(sql("activate_space"), space.space_id)


async def _repoint_view(connection: Connection, space: Space) -> None:
    index = Identifier(space.index)
    grants = await connection.fetch(sql("select_grants"), space.index)
    owner = await connection.fetchval(sql("select_other_owner"), space.index)
    await connection.execute(sql("drop_view", index=index))
    await connection.execute(
        sql("create_view", index=index, table=space_table(space), model=Literal(space.model))
    )
    await _comment_view(connection, space)
    for grant in grants:
        # Privileges come from the catalogue; the grantee is quoted by regrole's own output.
        grantee = "PUBLIC" if grant["public"] else grant["grantee"]
        option = " WITH GRANT OPTION" if grant["grantable"] else ""
        column = f" ({Identifier(grant['column_name'])})" if grant["column_name"] else ""
        await connection.execute(
            f"GRANT {grant['privilege']}{column} ON public.{index} TO {grantee}{option}"
        )
    if owner is not None:
        await _give_back(connection, index, owner)


async def _give_back(connection: Connection, index: Identifier, owner: str) -> None:
    """Make the view its former owner's, who takes the place of the grantor too."""
    try:
        async with connection.transaction():
            await connection.execute(f"ALTER VIEW public.{index} OWNER TO {owner}")
    except asyncpg.InsufficientPrivilegeError as error:
        # An owner's rights are no grants: without this one, the former could not even read.
        await connection.execute(f"GRANT ALL ON public.{index} TO {owner} WITH GRANT OPTION")
        logger.warning(
            "View public.%s belonged to %s and belongs to who published it now, since Postgres"
            " refused to give it back: %s.",
            index,
            owner,
            error,
        )


async def _comment_view(connection: Connection, space: Space) -> None:
    """Tell readers what their searches need: nobody but the view's comment reaches them all."""
    needed = f"SET hnsw.ef_search = {space.ef_search}"
    comment = f"{VIEW_COMMENT}: {needed} before you search it."
    row = await connection.fetchrow(sql("select_relation"), space.index)
    if row["comment"] == comment:
        return  # only its owner may comment a view, even if with what is there
    try:
        async with connection.transaction():
            await connection.execute(
                sql("comment_view", index=Identifier(space.index), comment=Literal(comment))
            )
    except asyncpg.InsufficientPrivilegeError:
        logger.warning(
            "The comment of view public.%s is not up to date, since the view belongs to another"
            " role: tell its readers to %s before they search it.",
            space.index,
            needed,
        )


async def drop_index(settings: Settings, index: str) -> None:
    """Remove an index with all its spaces, vectors and refusals; the runs' history stays.

    Raises:
        IndexBusy: a run holds it.
        IndexNameTaken: the name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's.
    """
    async with open_database(settings) as database:
        hold = IndexHold(database, index, "birdwalk drop_index")
        await hold.take()
        try:
            async with database.transaction() as connection:
                await refuse_a_taken_name(connection, index)
                await refuse_anothers_view(connection, index)
                await connection.execute(sql("drop_view", index=Identifier(index)))
                for row in await connection.fetch(sql("delete_spaces"), index):
                    table = space_table(read_space(row))
                    await connection.execute(sql("drop_space_table", table=table))
        finally:
            await hold.release()
