"""The approximate index is there when it pays, usable by the reader's query, and made once."""

import asyncio

import asyncpg
import pytest

from tasks.core.loading import build_index
from tasks.core.publishing import verify
from tasks.core.publishing.publish import publish
from tasks.core.runs.run import Run
from tasks.core.spaces import hnsw
from tests.support.databases import execute, fetch, fetchval
from tests.support.vectors import clustered, fill_space
from tests.support.waiting import until

INDEXES = """
SELECT relname, oid::bigint, indisvalid, opcname
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
JOIN (SELECT oid AS class_oid, opcname FROM pg_opclass) AS opclass ON class_oid = indclass[0]
WHERE indrelid = 'birdwalk.vectors_1'::regclass AND relam = (
    SELECT oid FROM pg_am WHERE amname = 'hnsw'
)
"""
READERS_QUERY = """
EXPLAIN SELECT image_id FROM image_embeddings
ORDER BY embedding <-> (SELECT embedding FROM image_embeddings WHERE image_id = '000007.png')
LIMIT 5
"""


@pytest.fixture
def pays_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small table have an index: what becomes of one does not depend on its size."""
    monkeypatch.setattr(build_index, "ROWS_THAT_PAY", 500)


async def plan_of(url: str, question: str) -> str:
    return "\n".join(line for (line,) in await fetch(url, question))


async def test_at_ten_thousand_rows_an_index_is_built_that_the_readers_query_uses(
    run: Run, url: str
) -> None:
    await fill_space(run, clustered(10_000, 128))
    report = await build_index.build_index(run)
    assert (report.rows, report.built, report.present) == (10_000, True, True)
    ((name, oid, valid, opclass),) = await fetch(url, INDEXES)
    assert (name, valid, opclass) == ("vectors_1_hnsw", True, "vector_l2_ops")
    verdict = await verify.verify(run)
    assert verdict.failed == ()
    assert verdict.recall is not None
    assert verdict.recall >= 0.95
    await publish(run)
    # Through the view, which shows vectors of no dimension and joins them with their images.
    assert "Index Scan using vectors_1_hnsw" in await plan_of(url, READERS_QUERY)
    again = await build_index.build_index(run)
    assert (again.built, again.present) == (False, True)
    assert [row[1] for row in await fetch(url, INDEXES)] == [oid]


async def test_below_ten_thousand_rows_there_is_none_and_searches_are_exact(
    run: Run, url: str
) -> None:
    await fill_space(run, clustered(9_999, 128))
    report = await build_index.build_index(run)
    assert (report.rows, report.built, report.present) == (9_999, False, False)
    assert "exact search over 9,999 vectors" in report.reason
    assert await fetch(url, INDEXES) == []
    assert (await verify.verify(run)).recall is None


async def test_the_planner_knows_the_table_afterwards(run: Run, url: str) -> None:
    await fill_space(run, clustered(1_200, 128))
    await build_index.build_index(run)
    tuples = "SELECT reltuples FROM pg_class WHERE oid = 'birdwalk.vectors_1'::regclass"
    assert await fetchval(url, tuples) == 1200


async def test_too_little_memory_to_build_in_is_said_before(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build_index, "ROWS_THAT_PAY", 500)
    monkeypatch.setattr(hnsw, "BYTES_A_NODE", 1_200_000)
    caplog.set_level("WARNING", hnsw.__name__)
    await fill_space(run, clustered(500, 128))
    assert (await build_index.build_index(run)).built
    assert run.index_built
    assert "over 500 rows is built fast in 616 MB" in caplog.text
    assert "BIRDWALK_INDEX_BUILD_MEMORY_MB lets it have 512" in caplog.text


@pytest.mark.usefixtures("pays_early")
async def test_an_index_of_another_operator_class_is_replaced(run: Run, url: str) -> None:
    await fill_space(run, clustered(600, 128))
    await execute(
        url, "CREATE INDEX by_cosine ON birdwalk.vectors_1 USING hnsw (embedding vector_cosine_ops)"
    )
    report = await build_index.build_index(run)
    assert report.built
    ((name, _, valid, opclass),) = await fetch(url, INDEXES)
    assert (name, valid, opclass) == ("vectors_1_hnsw", True, "vector_l2_ops")


@pytest.mark.usefixtures("pays_early")
async def test_an_index_whose_building_was_cut_off_is_replaced(run: Run, url: str) -> None:
    await fill_space(run, clustered(600, 128))
    await leave_invalid_index(url)
    ((_, before, valid, _),) = await fetch(url, INDEXES)
    assert not valid
    report = await build_index.build_index(run)
    assert report.built
    ((name, after, valid, opclass),) = await fetch(url, INDEXES)
    assert (name, valid, opclass) == ("vectors_1_hnsw", True, "vector_l2_ops")
    assert after != before


async def leave_invalid_index(url: str) -> None:
    """Cancel CREATE INDEX CONCURRENTLY while it waits for a writer: it leaves an invalid index."""

    async def registered() -> bool:
        return bool(await fetch(url, INDEXES))

    writer, builder = await asyncpg.connect(url), await asyncpg.connect(url)
    async with writer.transaction():
        await writer.execute("LOCK TABLE birdwalk.vectors_1 IN ROW EXCLUSIVE MODE")
        building = asyncio.create_task(
            builder.execute(
                "CREATE INDEX CONCURRENTLY vectors_1_hnsw ON birdwalk.vectors_1"
                " USING hnsw (embedding vector_l2_ops)"
            )
        )
        await until(registered)
        await execute(url, f"SELECT pg_cancel_backend({builder.get_server_pid()})")
        with pytest.raises(asyncpg.QueryCanceledError):
            await building
    await writer.close()
    await builder.close()


@pytest.mark.usefixtures("pays_early")
async def test_an_index_grows_with_rows_that_come_later(run: Run, url: str) -> None:
    await fill_space(run, clustered(600, 128))
    await build_index.build_index(run)
    ((_, before, _, _),) = await fetch(url, INDEXES)
    await execute(
        url,
        "INSERT INTO birdwalk.vectors_1 (content_key, embedding)"
        " SELECT 'another ' || content_key, embedding FROM birdwalk.vectors_1",
    )
    report = await build_index.build_index(run)
    assert (report.rows, report.built, report.present) == (1200, False, True)
    assert [row[1] for row in await fetch(url, INDEXES)] == [before]


@pytest.mark.usefixtures("pays_early")
@pytest.mark.parametrize(("added", "left"), [(0, 1), (90, 1), (91, 0)])
async def test_an_index_is_dropped_where_building_it_anew_is_cheaper_than_adding_to_it(
    run: Run, url: str, added: int, left: int
) -> None:
    space = await fill_space(run, clustered(600, 128))
    await build_index.build_index(run)
    async with run.database.connection() as connection:
        await hnsw.drop_worn_hnsw(connection, space, added)
    assert len(await fetch(url, INDEXES)) == left
