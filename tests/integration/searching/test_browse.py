"""Paging through an index, its folders, and reading it as a user who may do nothing else."""

import json
import random
from collections.abc import AsyncIterator

import pytest

from deployments.local.stack import Stack
from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import InvalidInput
from tasks.core.planning.create_table import create_table
from tasks.core.runs.lifecycle import open_run
from tasks.core.searching import browse as browsing
from tasks.core.searching.browse import (
    browse,
    end_of_prefix,
    find_image,
    list_folders,
    list_published,
    list_syncs,
)
from tasks.core.searching.searcher import Searcher
from tasks.core.spaces.registry import Space, require_shown_space
from tasks.core.spaces.rows import load_vectors
from tests.support.databases import fresh_database, settings_for
from tests.support.sync import options
from tests.support.vectors import uniform

browse_sql = statements_of("tasks.core.searching.browse")

INDEX = "image_embeddings"
NAMES = [
    *(
        f"{folder}/{number:03d}.png"
        for folder in ("birds", "birds/owls", "cats")
        for number in range(40)
    ),
    *(f"flat-{number}.png" for number in range(7)),
    *(
        "birds.png",
        "birds0.png",
        "über/é.png",
        "\U0010ffff/last.png",
        "a//b.png",
        "/root.png",
        " .png",
    ),
    "100%_[x]\\'\".png",
]
BUCKETS = ("alpha", "beta", "Gamma")
REFUSED = 2
"""Images without a vector in each of three folders of each bucket."""

PLACES = [(bucket, name) for bucket in BUCKETS for name in NAMES]


@pytest.fixture(scope="session")
async def filled(stack: Stack, database_server: str) -> AsyncIterator[tuple[Connection, Space]]:
    """A space with images of three buckets, to be read alone; those refused have no vector."""
    async with (
        fresh_database(database_server) as url,
        open_run(
            options("alpha"), settings_for(stack, url, stack.addresses.data_directory), "test"
        ) as run,
    ):
        space = await create_table(run)
        images = [(*place, 7, f"key {number}") for number, place in enumerate(PLACES)]
        refused = [
            (bucket, f"{folder}bad-{number}.png", 7, f"refused {number}")
            for bucket in BUCKETS
            for folder in ("", "birds/", "birds/bad/")
            for number in range(REFUSED)
        ]
        vectors = uniform(len(images), space.dimension)
        async with run.database.transaction() as connection:
            await load_vectors(connection, space, [(row[3], next(vectors)) for row in images])
            random.Random(0).shuffle(images)  # noqa: S311 - an order, no secret
            await connection.copy_records_to_table(
                space.images.name,
                schema_name="birdwalk",
                columns=("bucket", "image_id", "generation", "content_key"),
                records=images + refused,
            )
        async with run.database.connection() as connection:
            for table in space.tables.values():
                await connection.execute(f"VACUUM ANALYZE {table}")
            yield connection, space


async def in_order(connection: Connection, prefix: str) -> list[tuple[str, str]]:
    """Return the buckets in the order of the database, the names in that of their bytes."""
    buckets = [
        row[0] for row in await connection.fetch("SELECT unnest($1::text[]) ORDER BY 1", BUCKETS)
    ]
    return sorted(
        (place for place in PLACES if place[1].startswith(prefix)),
        key=lambda place: (buckets.index(place[0]), place[1].encode()),
    )


@pytest.mark.parametrize(
    "prefix", ["", "birds", "birds/", "birds/owls/", "ü", "none", "\U0010ffff", "100%_"]
)
async def test_the_pages_are_all_images_once_in_order_both_ways(
    filled: tuple[Connection, Space], prefix: str
) -> None:
    connection, space = filled
    expected = await in_order(connection, prefix)
    forward: list[tuple[str, str]] = []
    after = None
    while True:
        page = await browse(connection, space, prefix, 17, after=after)
        assert page.more_before == (after is not None)
        forward += [(image.bucket, image.image_id) for image in page.images]
        if not page.more_after:
            break
        assert len(page.images) == 17
        after = page.images[-1].uri
    assert forward == expected
    backward: list[tuple[str, str]] = []
    before = "gs://zzz/\U0010ffff"
    while True:
        page = await browse(connection, space, prefix, 17, before=before)
        backward[:0] = [(image.bucket, image.image_id) for image in page.images]
        if not page.more_before:
            break
        before = page.images[0].uri
    assert backward == [place for place in expected if place < ("zzz", "\U0010ffff")]


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [
        ("", ["/", "a/", "birds/", "cats/", "über/", "\U0010ffff/"]),
        ("b", ["birds/"]),
        ("birds/", ["birds/owls/"]),
        ("a/", ["a//"]),
        ("cats/", []),
        ("none", []),
    ],
)
async def test_the_folders_below_a_prefix_are_found(
    filled: tuple[Connection, Space], prefix: str, folders: list[str]
) -> None:
    connection, space = filled
    found = await list_folders(connection, space, prefix)
    assert (list(found.prefixes), found.exact) == (folders, True)


@pytest.mark.parametrize(
    ("hops", "folders", "exact"),
    [
        # In each bucket: " .png", "/root.png", "100%_…", "a//b.png", "birds.png", and then birds/.
        (1, [], False),
        (5, ["/", "a/"], False),
        (16, ["/", "a/", "birds/", "cats/", "über/"], False),
        (17, ["/", "a/", "birds/", "cats/", "über/", "\U0010ffff/"], False),
        (18, ["/", "a/", "birds/", "cats/", "über/", "\U0010ffff/"], True),
    ],
)
async def test_folders_behind_many_names_outside_of_them_are_not_said_to_be_all(
    filled: tuple[Connection, Space],
    monkeypatch: pytest.MonkeyPatch,
    hops: int,
    folders: list[str],
    *,
    exact: bool,
) -> None:
    connection, space = filled
    monkeypatch.setattr(browsing, "MOST_HOPS", hops)
    found = await list_folders(connection, space, "")
    assert (list(found.prefixes), found.exact) == (folders, exact)


@pytest.mark.parametrize("statement", ["select_page_after", "select_page_before"])
async def test_a_page_far_in_reads_no_more_rows_than_it_shows(
    filled: tuple[Connection, Space], statement: str
) -> None:
    connection, space = filled
    query = browse_sql(statement, **space.tables)
    place = ("alpha", "cats/020.png")
    async with connection.transaction():
        # Of a table as small as this the planner might well read everything.
        await connection.execute("SET LOCAL enable_seqscan = off")
        [[plan]] = await connection.fetch(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *place, "", end_of_prefix(""), 5
        )
    read = 0

    def count(node: dict[str, object]) -> None:
        nonlocal read
        for part in node.get("Plans", ()):  # type: ignore[attr-defined]  # a list in the JSON
            count(part)
        if "Scan" in str(node["Node Type"]) and "Relation Name" in node:
            rows = float(str(node["Actual Rows"])) + float(
                str(node.get("Rows Removed by Filter", 0))
            )
            read += round(rows * float(str(node["Actual Loops"])))

    count(json.loads(plan)[0]["Plan"])
    # 5 images of each bucket and their vectors, what was refused between them, and the way from
    # bucket to bucket.
    assert 2 * 5 <= read <= 3 * (2 * 5 + REFUSED) + 8


async def test_what_cannot_be_paged_is_refused(filled: tuple[Connection, Space]) -> None:
    connection, space = filled
    for changes in (
        {"count": 0},
        {"count": 201},
        {"after": "cats/1.png"},
        {"before": "gs://alpha/\0"},
        {"after": "gs://a/b", "before": "gs://a/b"},
        {"prefix": "\0"},
    ):
        given = {"prefix": "", "count": 5, **changes}
        with pytest.raises(InvalidInput):
            await browse(connection, space, **given)  # type: ignore[arg-type]  # wrong on purpose


async def test_an_image_is_found_by_its_place(filled: tuple[Connection, Space]) -> None:
    connection, space = filled
    found = await find_image(connection, space, "Gamma", NAMES[-1])
    assert found is not None
    assert (found.uri, found.generation) == (f"gs://Gamma/{NAMES[-1]}", 7)
    for place in (("beta", "none.png"), ("nowhere", "birds.png"), ("beta", "bad-1.png")):
        assert await find_image(connection, space, *place) is None


async def test_the_indexes_and_their_last_syncs_are_told(samples: Searcher) -> None:
    async with samples.database.connection() as connection:
        space = await require_shown_space(connection, INDEX)
        assert await list_published(connection) == (INDEX,)
        [sync] = await list_syncs(connection, INDEX)
    assert (sync.bucket, sync.prefix, sync.synced_at) == ("birdwalk", "", space.published_at)
