"""What readers query: an index's view, and the function that searches it."""

import asyncio
import hashlib
import logging
from itertools import count

import asyncpg

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, Literal, statements_of
from tasks.core.errors import DatabaseError, IndexNameTaken
from tasks.core.spaces.registry import Space

logger = logging.getLogger(__name__)
sql = statements_of(__name__)

VIEW_COMMENT = "birdwalk index"
"""How a view's comment begins; birdwalk knows its own views by it."""

READERS_WAIT = "2s"
ATTEMPTS_TO_REPLACE = 12
PAUSE_FOR_READERS_SECONDS = 4.0
"""Behind a reader that takes long, new ones wait this long, this often: about a minute in all."""

FUNCTION_COMMENT = "birdwalk: the images of an index that are nearest to one of them"


async def require_free_name(connection: Connection, index: str) -> bool:
    """Return whether the index's view exists already.

    Raises:
        IndexNameTaken: a relation that birdwalk did not make has its name.
    """
    row = await connection.fetchrow(sql("select_relation"), index)
    if row is None:
        return False
    if row["kind"] != "v" or not (row["comment"] or "").startswith(VIEW_COMMENT):
        raise IndexNameTaken(
            f"public.{index} exists and is not one of birdwalk's views: it was left alone. Choose"
            " another index name, or rename what is there."
        )
    return True


async def require_own_view(connection: Connection, index: str) -> None:
    """Stop where the index's view is there, and may not be replaced.

    Raises:
        DatabaseError: it belongs to another role.
    """
    row = await connection.fetchrow(sql("select_relation"), index)
    if row is None or row["replaceable"]:
        return
    view, owner, asking = f"public.{Identifier(index)}", row["owner"], row["asking"]
    remedy = f"ALTER VIEW {view} OWNER TO {asking}; to give the view away"
    # Nobody should become a superuser for a view.
    if not row["owner_is_superuser"]:
        remedy += f", or GRANT {owner} TO {asking}; to let {owner} keep it"
    raise DatabaseError(
        f"View {view} belongs to {owner}, so {asking} may not replace it by one of another space;"
        f" the index was left as it is. Let an admin run this, and run again: {remedy}."
    )


async def hold_index(connection: Connection, index: str) -> int | None:
    """Keep an index from others until the caller's transaction ends.

    Returns:
        The number of the space that readers see; None before the first.
    """
    active: int | None = await connection.fetchval(sql("select_active_space"), index)
    return active


async def show_space(connection: Connection, space: Space, extension: str) -> None:
    """Make a space the one that readers see, inside the caller's transaction.

    Whoever changes what readers see holds the index meanwhile, so that others wait.

    Raises:
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's, or what depends on it does not allow it.
    """
    exists = await require_free_name(connection, space.index)
    active = await hold_index(connection, space.index)
    if not exists or active != space.space_id:
        await require_own_view(connection, space.index)
        await _replace_view(connection, space, extension)
        await connection.execute(sql("update_active_space"), space.index, space.space_id)
    await _let_owner_read(connection, space)
    await _comment_view(connection, space)
    await _create_function(connection, extension)
    await connection.execute(sql("update_published_at"), space.space_id)


async def drop_view(connection: Connection, index: str) -> None:
    """Remove an index's view.

    Raises:
        IndexNameTaken: the name belongs to a relation that birdwalk did not make.
        DatabaseError: the view is another role's.
    """
    await require_free_name(connection, index)
    await require_own_view(connection, index)
    await connection.execute(sql("drop_view", index=Identifier(index)))


async def _replace_view(connection: Connection, space: Space, extension: str) -> None:
    """Lead the view to a space when nobody reads it, without keeping new readers waiting for long.

    Who reads the view keeps it from being replaced; meanwhile new readers queue behind us.
    """
    statement = sql(
        "replace_view",
        index=Identifier(space.index),
        model=Literal(space.model),
        extension=Identifier(extension),
        **space.tables,
    )
    patience = await connection.fetchval("SELECT current_setting('lock_timeout')")
    for attempt in count(1):
        try:
            async with connection.transaction():
                await connection.execute(sql("set_lock_timeout"), READERS_WAIT)
                await connection.execute(statement)
                await connection.execute(sql("set_lock_timeout"), patience)
        except asyncpg.LockNotAvailableError:
            if attempt == ATTEMPTS_TO_REPLACE:
                raise
            await asyncio.sleep(PAUSE_FOR_READERS_SECONDS)
        else:
            return


async def _let_owner_read(connection: Connection, space: Space) -> None:
    """Let whom the view was given to read its tables: a view reads with the rights of its owner."""
    owner = await connection.fetchval(
        sql("select_owner_without_rights"), space.index, str(space.images), str(space.vectors)
    )
    if owner is not None:
        await connection.execute(sql("grant_schema", owner=Identifier(owner)))
        await connection.execute(sql("grant_tables", owner=Identifier(owner), **space.tables))


async def _comment_view(connection: Connection, space: Space) -> None:
    """Tell searches what they need: nobody but the view's comment reaches them all."""
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


async def _create_function(connection: Connection, extension: str) -> None:
    """Make find_similar what it should be; one that somebody else made is left alone."""
    statement = sql("create_find_similar", extension=Identifier(extension))
    comment = f"{FUNCTION_COMMENT} ({hashlib.sha256(statement.encode()).hexdigest()[:8]})"
    # Two indexes may be published at once, and both have this function.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('birdwalk'))")
    row = await connection.fetchrow(sql("select_function"))
    if row is not None and row["comment"] == comment:
        return
    if row is not None and not (row["comment"] or "").startswith(FUNCTION_COMMENT):
        logger.warning(
            "public.find_similar(text, integer, text, text) exists and is not birdwalk's: it was"
            " left alone."
        )
        return
    try:
        async with connection.transaction():
            await connection.execute(sql("load_extension", extension=Identifier(extension)))
            await connection.execute(statement)
            await connection.execute(sql("comment_find_similar", comment=Literal(comment)))
    except asyncpg.InsufficientPrivilegeError as error:
        logger.warning("The function public.find_similar is missing or not up to date: %s", error)
