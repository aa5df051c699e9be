"""An index's view: whether it is ours and may be replaced, and which space it shows."""

import logging

import asyncpg

from tasks.core.database.connections import Connection
from tasks.core.database.statements import Identifier, Literal, statements_of
from tasks.core.errors import DatabaseError, IndexNameTaken
from tasks.core.spaces.registry import space_table
from tasks.core.types import Space

sql = statements_of(__name__)
registry_sql = statements_of("tasks.core.spaces.registry")

VIEW_COMMENT = "birdwalk index"
"""How a view's comment begins; publish knows its own views by it."""


async def refuse_a_taken_name(connection: Connection, index: str) -> bool:
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


async def refuse_anothers_view(connection: Connection, index: str) -> None:
    """Stop where the index's view is there, and may not be dropped: so it changes its space.

    Raises:
        DatabaseError: it belongs to another role, as the schema does.
    """
    row = await connection.fetchrow(sql("select_relation"), index)
    if row is None or row["droppable"]:
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


logger = logging.getLogger(__name__)


async def activate(connection: Connection, space: Space) -> None:
    """Make a space the one that readers see, inside the caller's transaction.

    Raises:
        IndexNameTaken: the index's name belongs to a relation that birdwalk did not make.
        DatabaseError: its view is another role's.
    """
    await refuse_a_taken_name(connection, space.index)
    await refuse_anothers_view(connection, space.index)
    await _repoint_view(connection, space)
    await connection.execute(registry_sql("retire_active_space"), space.index, space.space_id)
    await connection.execute(registry_sql("activate_space"), space.space_id)


async def _repoint_view(connection: Connection, space: Space) -> None:
    index = Identifier(space.index)
    grants = await connection.fetch(sql("select_grants"), space.index)
    owner = await connection.fetchval(sql("select_other_owner"), space.index)
    await connection.execute(sql("drop_view", index=index))
    await connection.execute(
        sql("create_view", index=index, table=space_table(space), model=Literal(space.model))
    )
    await comment_view(connection, space)
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


async def comment_view(connection: Connection, space: Space) -> None:
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
