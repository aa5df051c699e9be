"""Choose ef_search, how many candidates a search through the index keeps, by measurement.

More candidates find more of the true neighbours and take longer; how many it takes depends on the
table. Each state of table and index is measured once: comparing with exact searches reads every
row many times.
"""

import logging
from dataclasses import replace
from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.runs.run import Run
from tasks.core.spaces.hnsw import create_hnsw, drop_hnsw, has_hnsw
from tasks.core.spaces.recall import (
    LEAST_RECALL,
    NO_INDEX,
    RECALL_CLAIM,
    SAMPLED_ROWS,
    find_farthest,
    judge_recall,
    measure_recall,
    sample_vectors,
)
from tasks.core.spaces.registry import Space
from tasks.core.types import Check

hnsw = statements_of("tasks.core.spaces.hnsw")
logger = logging.getLogger(__name__)

EF_SEARCH_STEPS = (100, 200, 400, 800)
GOOD_RECALL = 0.98
"""Where the steps end. What readers must get at the least is LEAST_RECALL."""

SAMPLED_AFTER_BUILD = 100
"""An index misses whole neighbourhoods rather than single rows: 20 searches may not meet one."""


async def tune_search(
    connection: Connection, run: Run, space: Space
) -> tuple[Space, float | None, Check]:
    """Measure a space's index, unless nothing was written since it was; remember what it takes.

    An index that was built since begins at the smallest ef_search; one that only grew keeps its
    own at the least. One that no ef_search helps is built anew, unless this run built it.

    Args:
        connection: one in no transaction: dropping an index is refused inside of one.
        run: its number seeds the sample.
        space: whose index it is.

    Returns:
        The space with its ef_search, the recall at it (None without an index), and the gate's
        check of that.
    """
    if not await has_hnsw(connection, space):
        return space, None, NO_INDEX
    state = await _read_state(connection, space)
    if _still_holds(state):
        found = (
            f"recall {state['recall']:.3f} at ef_search {space.ef_search}, as measured at"
            f" {state['measured_at']:%Y-%m-%d %H:%M} UTC: no row was written since"
        )
        return space, state["recall"], Check(RECALL_CLAIM, passed=True, found=found)
    tuned, recall = await _measure(connection, space, run.run_id, state)
    if recall < LEAST_RECALL and not run.index_built:
        logger.warning(
            "Searches through the HNSW index of %s find %.3f of the true neighbours even at"
            " ef_search %s, so it is dropped and built anew.",
            space.vectors.name,
            recall,
            tuned.ef_search,
        )
        await drop_hnsw(connection, space)
        await create_hnsw(connection, space, run.settings.index_build_memory_mb)
        run.index_built = True
        state = await _read_state(connection, space)
        tuned, recall = await _measure(connection, space, run.run_id, state)
    return tuned, recall, judge_recall(tuned, recall)


async def _read_state(connection: Connection, space: Space) -> Any:
    """Read before anything is measured: what is written meanwhile then counts as written since."""
    return await connection.fetchrow(hnsw("select_measurement"), space.space_id, str(space.vectors))


async def _measure(
    connection: Connection, space: Space, seed: int, state: Any
) -> tuple[Space, float]:
    """Raise ef_search until recall is good; return and record where that ended."""
    built = state["measured_index"] != state["index"]
    sample = await sample_vectors(
        connection, space, seed, SAMPLED_AFTER_BUILD if built else SAMPLED_ROWS
    )
    farthest = await find_farthest(connection, space, sample)
    for step in EF_SEARCH_STEPS:
        if step < space.ef_search and not built:
            continue
        tuned = replace(space, ef_search=step)
        recall = await measure_recall(connection, tuned, farthest)
        if recall >= GOOD_RECALL:
            break
    await connection.execute(
        hnsw("update_measurement"),
        space.space_id,
        recall,
        tuned.ef_search,
        state["writes"],
        state["index"],
    )
    return tuned, recall


def _still_holds(state: Any) -> bool:
    """Tell whether a good recall is on record of the very rows and the very index."""
    return (
        state["measured_writes"] == state["writes"]
        and state["measured_index"] == state["index"]
        and (state["recall"] or 0.0) >= LEAST_RECALL
    )
