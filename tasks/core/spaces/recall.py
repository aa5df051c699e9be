"""How many of the true neighbours a search through the index finds, on a sample of rows."""

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.spaces.hnsw import has_hnsw
from tasks.core.spaces.nearest import nearest, nearest_exact
from tasks.core.spaces.registry import Space, count_rows
from tasks.core.types import Check, Vector

sql = statements_of(__name__)

SAMPLED_ROWS = 20
RECALL_NEIGHBOURS = 10
LEAST_RECALL = 0.95
RECALL_CLAIM = f"recall@{RECALL_NEIGHBOURS} of the index is at least {LEAST_RECALL:.2f}"
NO_INDEX = Check(RECALL_CLAIM, passed=True, found="no index: searches are exact")
SAME_PLACE = 1e-3
"""L2 distance under which two unit vectors of float32 are the same: rounding stays far below."""


async def sample_vectors(
    connection: Connection, space: Space, seed: int, count: int = SAMPLED_ROWS
) -> list[tuple[str, Vector]]:
    """Return up to `count` contents of a space with their vectors, the same for the same seed."""
    rows = await count_rows(connection, space)
    # Pages are drawn, not rows: ask for more than needed, since a draw of pages varies.
    percent = min(100.0, 100.0 * 50 * count / max(rows, 1))
    drawn = await connection.fetch(
        sql("sample_vectors", vectors=space.vectors), percent, seed, count
    )
    return [(row["content_key"], row["embedding"].to_numpy()) for row in drawn]


async def check_recall(
    connection: Connection, space: Space, sample: list[tuple[str, Vector]]
) -> tuple[float | None, Check]:
    """Return the recall@10 of a space's index at its ef_search (None without one), and its check.

    Measured now, over a sample, whatever was measured before.
    """
    if not await has_hnsw(connection, space):
        return None, NO_INDEX
    recall = await measure_recall(connection, space, await find_farthest(connection, space, sample))
    return recall, judge_recall(space, recall)


async def find_farthest(
    connection: Connection, space: Space, sample: list[tuple[str, Vector]]
) -> list[tuple[Vector, float, int]]:
    """Return each vector of a sample with the distance of its farthest true neighbour.

    And how many those are: ten where the space has as many. Reads every row once for each.
    """
    farthest = []
    for _, vector in sample:
        exact = await nearest_exact(connection, space, vector, RECALL_NEIGHBOURS)
        farthest.append((vector, exact[-1].distance + SAME_PLACE, len(exact)))
    return farthest


async def measure_recall(
    connection: Connection, space: Space, farthest: list[tuple[Vector, float, int]]
) -> float:
    """Return the share of the true neighbours that searches at the space's ef_search find."""
    hits = wanted = 0
    for vector, distance, count in farthest:
        found = await nearest(connection, space, vector, RECALL_NEIGHBOURS)
        # By distance, not by name: equally near images may come in any order.
        hits += sum(neighbour.distance <= distance for neighbour in found)
        wanted += count
    return hits / wanted if wanted else 0.0


def judge_recall(space: Space, recall: float) -> Check:
    """Return the check of a recall that was measured at the space's ef_search."""
    found = f"recall {recall:.3f} at ef_search {space.ef_search}"
    return Check(RECALL_CLAIM, recall >= LEAST_RECALL, found)
