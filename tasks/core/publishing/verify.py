"""The gate: prove what readers would see, which is the listing with the space's vectors."""

import random

import numpy as np

from tasks.core.csv_parts import batch_of, parts_in, read_part
from tasks.core.database.connections import Connection, without_nested_loops
from tasks.core.database.statements import statements_of
from tasks.core.errors import GateFailed
from tasks.core.publishing.tune_search import tune_search
from tasks.core.runs.run import Run
from tasks.core.spaces.nearest import find_vector, nearest, nearest_exact, widen_search
from tasks.core.spaces.recall import SAME_PLACE, SAMPLED_ROWS, sample_vectors
from tasks.core.text import count
from tasks.core.types import Check, Neighbour, Vector, Verdict

sql = statements_of(__name__)

SAMPLED_PARTS = 5


async def verify(run: Run) -> Verdict:
    """Check what would be shown, and find in it what is nearest to one image; nothing is shown yet.

    Returns:
        The verdict, whether the checks held or not; `check_verdict` turns it into an error.

    Raises:
        UnknownImage: the image to ask with would not be in the index.
    """
    with run.timed("verify"):
        async with run.database.connection() as connection:
            run.made_space, recall, recall_check = await tune_search(connection, run, run.space)
            sample = await sample_vectors(connection, run.space, run.run_id)
            images, complete = await _check_completeness(connection, run)
            checks = (
                complete,
                await _check_vectors(connection, run),
                await _check_csv(connection, run),
                await _check_self_neighbours(connection, run, sample),
                recall_check,
            )
            query = run.options.query or await connection.fetchval(
                sql("select_first_image", vectors=run.space.vectors), run.run_id
            )
            neighbours = await _ask(connection, run, query) if query is not None else ()
    return Verdict(checks, query or "", neighbours, images, recall)


def check_verdict(verdict: Verdict) -> None:
    """Let a verdict pass whose checks all held.

    Raises:
        GateFailed: a check did not hold; the message names it and shows images.
    """
    if not verdict.failed:
        return
    found = "; ".join(
        f"{check.name}: {check.found}"
        + (f" (such as {', '.join(map(repr, check.examples))})" if check.examples else "")
        for check in verdict.failed
    )
    raise GateFailed(
        f"The index is left as it was: {found}. The vectors written stay; run again to finish the"
        " work, or look at the gate table of this run."
    )


async def _ask(connection: Connection, run: Run, query: str) -> tuple[Neighbour, ...]:
    """Return the images nearest to one of the run's bucket, itself left out.

    An index may hold several buckets: an image of the same name in another one is a neighbour.
    """
    options, space = run.options, run.space
    stored = await connection.fetchval(
        sql("select_listed_vector", vectors=space.vectors), run.run_id, query
    )
    if stored is None:
        vector = await find_vector(connection, space, options.bucket, query)
    else:
        vector = stored.to_numpy()
    async with connection.transaction():
        await widen_search(connection, space, options.neighbours + 1)
        rows = await connection.fetch(
            sql("nearest_listed", **space.tables),
            vector,
            run.run_id,
            options.bucket,
            options.prefix,
            options.neighbours + 1,
            options.limit is not None,
        )
    found = [Neighbour(*row) for row in rows]
    itself = (options.bucket, query)
    return tuple(one for one in found if (one.bucket, one.image_id) != itself)[: options.neighbours]


async def _check_completeness(connection: Connection, run: Run) -> tuple[int, Check]:
    """Return how many of the listed images would be shown, and whether they are all."""
    vectors, scope = run.space.vectors, (run.run_id, run.space.space_id)
    async with connection.transaction(), without_nested_loops(connection):
        # One pass counts; what is not as it should be is looked for where there is some.
        counts = await connection.fetchrow(sql("count_listed", vectors=vectors), *scope)
        missing = (
            await connection.fetch(sql("select_missing", vectors=vectors), *scope)
            if counts["missing"]
            else []
        )
    expected = counts["listed"] - counts["refused"] - counts["leftover"]
    found = f"{count(counts['shown'], 'vector')} for {count(expected, 'image')} listed"
    if counts["refused"]:
        found += f"; {count(counts['refused'], 'is', 'are')} refused"
    if counts["leftover"]:
        found += f"; {count(counts['leftover'], 'is', 'are')} left for the next run"
    examples = tuple(row["image_id"] for row in missing)
    return counts["shown"], Check(
        "every listed image has a vector", not counts["missing"], found, examples
    )


async def _check_vectors(connection: Connection, run: Run) -> Check:
    space = run.space
    # What readers do not see yet is read whole; later vectors as they come.
    statement = sql(
        "select_bad_new_vectors" if space.published_at else "select_bad_vectors",
        vectors=space.vectors,
    )
    bad = await connection.fetch(statement, run.run_id, space.dimension)
    return Check(
        f"vectors are finite, of norm 1 and of {space.dimension} dimensions",
        not bad,
        f"{bad[0]['total']:,} wrong" if bad else "all are",
        tuple(row["image_id"] for row in bad),
    )


async def _check_csv(connection: Connection, run: Run) -> Check:
    """Compare the space's vectors with the CSV's, for rows drawn over all parts."""
    claim = "the table holds the CSV's very numbers"
    parts = parts_in(run.parts)
    if not parts:
        return Check(claim, passed=True, found="nothing was embedded in this run")
    draw = random.Random(run.run_id)  # noqa: S311 - a repeatable sample, not a secret
    compared, different = 0, []
    for part in draw.sample(parts, min(len(parts), SAMPLED_PARTS)):
        written = read_part(part, run.space.dimension)
        names = draw.sample(sorted(written), min(len(written), SAMPLED_ROWS))
        stored = await connection.fetch(
            sql("select_asked_vectors", vectors=run.space.vectors),
            run.run_id,
            batch_of(part),
            names,
        )
        compared += len(stored)
        different += [
            row["image_id"]
            for row in stored
            if not np.array_equal(row["embedding"].to_numpy(), written[row["image_id"]])
        ]
    found = f"{compared - len(different)} of {compared} compared are equal"
    return Check(claim, not different, found, tuple(different[:5]))


async def _check_self_neighbours(
    connection: Connection, run: Run, sample: list[tuple[str, Vector]]
) -> Check:
    lost = []
    for content_key, vector in sample:
        # Another content may lie at the same place. That an approximate index misses one row in
        # many is for its recall to say.
        for search in (nearest, nearest_exact):
            found = await search(connection, run.space, vector, 1)
            if found and found[0].distance <= SAME_PLACE:
                break
        else:
            lost.append(content_key)
    found_text = f"{len(sample) - len(lost)} of {len(sample)} sampled are"
    return Check("images are their own nearest", not lost, found_text, tuple(lost[:5]))
