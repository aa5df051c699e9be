"""What stands in the place of an index's view: whether it is ours, and may be replaced."""

from tasks.core.errors import DatabaseError, IndexNameTaken
from tasks.core.postgres import Connection
from tasks.core.statements import Identifier, sql

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
