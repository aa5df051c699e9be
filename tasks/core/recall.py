"""How many of the true neighbours a search through the index finds, on a sample of rows."""

from tasks.core.hnsw import has_hnsw
from tasks.core.neighbours import nearest, nearest_exact
from tasks.core.postgres import Connection
from tasks.core.spaces import space_table
from tasks.core.statements import sql
from tasks.core.types import Check, Space, Vector

SAMPLED_ROWS = 20
RECALL_NEIGHBOURS = 10
LEAST_RECALL = 0.95
SAME_PLACE = 1e-3
"""L2 distance under which two unit vectors of float32 are the same: rounding stays far below."""


async def sample_rows(connection: Connection, space: Space, seed: int) -> list[tuple[str, Vector]]:
    """Return up to 20 images of a space with their vectors, the same for the same seed."""
    table = space_table(space)
    rows = await connection.fetchval(sql("count_rows", table=table))
    # Pages are drawn, not rows: ask for more than needed, since a draw of pages varies.
    percent = min(100.0, 100.0 * 50 * SAMPLED_ROWS / max(rows, 1))
    drawn = await connection.fetch(sql("sample_rows", table=table), percent, seed, SAMPLED_ROWS)
    return [(row["image_id"], row["embedding"].to_numpy()) for row in drawn]


async def check_recall(
    connection: Connection, space: Space, sample: list[tuple[str, Vector]]
) -> tuple[float | None, Check]:
    """Return the recall@10 of a space's index over a sample (None without one), and its check."""
    claim = f"recall@{RECALL_NEIGHBOURS} of the index is at least {LEAST_RECALL:.2f}"
    if not await has_hnsw(connection, space):
        return None, Check(claim, passed=True, found="no index: searches are exact")
    hits = wanted = 0
    for _, vector in sample:
        exact = await nearest_exact(connection, space, vector, RECALL_NEIGHBOURS)
        found = await nearest(connection, space, vector, RECALL_NEIGHBOURS)
        # By distance, not by name: equally near images may come in any order.
        farthest = exact[-1].distance + SAME_PLACE
        hits += sum(neighbour.distance <= farthest for neighbour in found)
        wanted += len(exact)
    recall = hits / wanted if wanted else 0.0
    return recall, Check(claim, recall >= LEAST_RECALL, f"recall {recall:.3f}")
