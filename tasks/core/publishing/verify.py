"""The gate: prove that the space's table equals the listing, and that searching it works."""

import random
from typing import Any

import numpy as np

from tasks.core.csv_parts import read_part
from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import statements_of
from tasks.core.errors import GateFailed
from tasks.core.publishing.tune_search import tune_search
from tasks.core.runs.run import Run
from tasks.core.runs.space import count_stored, find_space
from tasks.core.spaces.nearest import nearest, nearest_exact, nearest_to_image
from tasks.core.spaces.recall import SAME_PLACE, SAMPLED_ROWS, sample_rows
from tasks.core.spaces.registry import space_table
from tasks.core.text import count
from tasks.core.types import Check, Neighbour, Space, Vector, Verdict

sql = statements_of(__name__)
drift_sql = statements_of("tasks.core.spaces.drift")
nearest_sql = statements_of("tasks.core.spaces.nearest")
registry_sql = statements_of("tasks.core.spaces.registry")

SAMPLED_PARTS = 5


async def verify(run: Run) -> Verdict:
    """Check the run's space and ask the seed's question of it.

    Returns:
        The verdict, whether the checks held or not; `refuse_failed` turns it into an error.

    Raises:
        UnknownImage: the image to ask with is not in the index.
    """
    with run.timed("verify"):
        space = await find_space(run)
        async with run.database.connection() as connection:
            space, recall, recall_check = await tune_search(connection, run, space)
            sample = await sample_rows(connection, space, run.run_id)
            checks = (
                *await _check_completeness(connection, run, space),
                await _check_vectors(connection, run, space),
                await _check_bytes(connection, run, space),
                await _check_self_neighbours(connection, space, sample),
                recall_check,
            )
            query = run.options.query or await connection.fetchval(
                sql("select_first_image", table=space_table(space)),
                run.run_id,
                run.options.bucket,
            )
            neighbours = await _ask(connection, run, space, query)
            rows = await connection.fetchval(registry_sql("count_rows", table=space_table(space)))
            passed = all(check.passed for check in checks)
            await connection.execute(
                registry_sql("update_space_verified"), space.space_id, rows, recall, passed
            )
    return Verdict(checks, query or "", tuple(neighbours), rows, recall)


def refuse_failed(verdict: Verdict) -> None:
    """Let a verdict pass, or stop the run.

    Raises:
        GateFailed: a check did not hold; the message names it and shows rows.
    """
    if not verdict.failed:
        return
    found = "; ".join(
        f"{check.name}: {check.found}"
        + (f" (such as {', '.join(map(repr, check.examples))})" if check.examples else "")
        for check in verdict.failed
    )
    raise GateFailed(
        f"The index was not published, or is left as it was: {found}. The rows written stay; run"
        " again to finish the work, or look at the gate table of this run."
    )


async def _ask(
    connection: Connection, run: Run, space: Space, query: str | None
) -> list[Neighbour]:
    if query is None:
        return []
    return await nearest_to_image(connection, run, space, query, run.options.neighbours)


async def _check_completeness(
    connection: Connection, run: Run, space: Space
) -> tuple[Check, Check, Check]:
    table, options = space_table(space), run.options
    listed = (run.run_id, options.bucket, space.space_id)
    missing: list[Any] = []
    async with connection.transaction(), without_nested_loops(connection):
        # One pass counts; what is not as it should be is looked for where there is some.
        counts = await connection.fetchrow(sql("count_scope", table=table), *listed)
        if counts["missing"]:
            missing = await connection.fetch(sql("select_missing", table=table), *listed)
    extra: list[Any] = []
    if options.limit is None and counts["rows"] != await count_stored(connection, run):
        # A listing that was cut short says nothing of what is not in it.
        scope = (run.run_id, options.bucket, options.prefix)
        extra = await connection.fetch(drift_sql("select_extra", table=table), *scope)
    expected = count(counts["expected"], "image")
    found = f"{count(counts['rows'], 'row')} for {expected} listed and not refused"
    if counts["left_over"]:
        found += f"; {count(counts['left_over'], 'is', 'are')} left for the next run"
    return (
        Check("counts are equal", counts["rows"] == counts["expected"], found),
        _none_found("every listed image has a vector", missing, "listed without one"),
        _none_found("every vector's image is listed", extra, "not in the bucket any more"),
    )


async def _check_vectors(connection: Connection, run: Run, space: Space) -> Check:
    scope = (run.options.bucket, space.dimension)
    table = space_table(space)
    if space.status == "active":
        bad = await connection.fetch(sql("select_bad_new_vectors", table=table), *scope, run.run_id)
    else:
        # What readers do not see yet is read whole once; later rows as they come.
        bad = await connection.fetch(sql("select_bad_vectors", table=table), *scope)
    return _none_found(
        f"vectors are finite, of norm 1 and of {space.dimension} dimensions", bad, "wrong"
    )


def _none_found(claim: str, rows: list[Any], what: str) -> Check:
    examples = tuple(row["image_id"] for row in rows)
    return Check(claim, not rows, f"{rows[0]['total']:,} {what}" if rows else "all are", examples)


async def _check_bytes(connection: Connection, run: Run, space: Space) -> Check:
    """Compare the table's vectors with the CSV's, for rows drawn over all parts."""
    claim = "the table holds the CSV's very numbers"
    parts = sorted(run.part(0).parent.glob("part-*.csv"))
    if not parts:
        return Check(claim, passed=True, found="nothing was embedded in this run")
    draw = random.Random(run.run_id)  # noqa: S311 - a repeatable sample, not a secret
    written: list[tuple[str, Vector]] = []
    for part in draw.sample(parts, min(len(parts), SAMPLED_PARTS)):
        rows = list(read_part(part, space.dimension).items())
        written += draw.sample(rows, min(len(rows), SAMPLED_ROWS))
    different = []
    for image_id, vector in written:
        stored = await connection.fetchval(
            nearest_sql("select_vector", table=space_table(space)), run.options.bucket, image_id
        )
        # A row that is missing is another check's to report.
        if stored is not None and not np.array_equal(stored.to_numpy(), vector):
            different.append(image_id)
    found = f"{len(written) - len(different)} of {len(written)} compared are equal"
    return Check(claim, not different, found, tuple(different[:5]))


async def _check_self_neighbours(
    connection: Connection, space: Space, sample: list[tuple[str, Vector]]
) -> Check:
    lost = []
    for image_id, vector in sample:
        # Another copy of the same picture may come first, at the same distance. That an
        # approximate index misses one row in many is for its recall to say.
        for search in (nearest, nearest_exact):
            found = await search(connection, space, vector, 1)
            if found and found[0].distance <= SAME_PLACE:
                break
        else:
            lost.append(image_id)
    found_text = f"{len(sample) - len(lost)} of {len(sample)} sampled are"
    return Check("images are their own nearest", not lost, found_text, tuple(lost[:5]))
