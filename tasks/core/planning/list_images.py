"""Stream a bucket's listing into Postgres: page by page, by COPY, in one transaction."""

import json
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import NothingToEmbed
from tasks.core.google.storage import ImageLister
from tasks.core.runs.run import Run
from tasks.core.runs.space_lock import require_running
from tasks.core.spaces.registry import count_images, find_space
from tasks.core.text import count
from tasks.core.types import Listing

sql = statements_of(__name__)

COLUMNS = (
    "run_id",
    "image_id",
    "generation",
    "content_key",
    "size",
    "content_type",
    "content_encoding",
    "updated",
    "metadata",
)
"""Of birdwalk.listings; after the first in the order of Image's fields after the bucket."""


async def list_images(run: Run) -> Listing:
    """Replace the index's last listing by the bucket's present one; return its counts.

    A run that only plans writes its own beside it.

    Raises:
        BucketNotFound, BucketForbidden, StorageError: the bucket cannot be listed.
        NothingToEmbed: it holds no image, and the index none of it; the last listing is kept.
        SpaceBusy: the run is over; the last listing is kept.
    """
    options = run.options
    lister = ImageLister(run.clients.storage, options.bucket, run.model)
    with run.timed("list_images"):
        async with run.database.transaction() as connection:
            # By Postgres's clock: the runs of an index may be on machines whose clocks differ.
            started_at = await connection.fetchval("SELECT clock_timestamp()")
            await connection.execute(sql("delete_own_listing"), run.run_id)
            await connection.copy_records_to_table(
                "listings", schema_name="birdwalk", columns=COLUMNS, records=_records(run, lister)
            )
            await _require_images(connection, run, lister)
            # Last, as others wait for it: a listing may take minutes.
            await require_running(connection, run.run_id)
            if not options.plan_only:
                await connection.execute(sql("delete_old_listings"), options.index)
            skipped = dict(lister.skipped)
            await connection.execute(
                sql("update_run_listing"),
                run.run_id,
                lister.objects,
                lister.images,
                json.dumps(skipped),
                started_at,
            )
        async with run.database.connection() as connection:
            # Without it Postgres takes a new run for a few rows, and compares each with each.
            await connection.execute(sql("analyze_listings"))
    run.listing = Listing(lister.objects, lister.images, skipped)
    return run.listing


async def _records(run: Run, lister: ImageLister) -> AsyncIterator[tuple[Any, ...]]:
    async for page in lister.pages(run.options.prefix, run.options.limit):
        for image in page:
            yield (
                run.run_id,
                image.image_id,
                image.generation,
                image.content_key,
                image.size,
                _storable(image.content_type),
                _storable(image.content_encoding),
                image.updated,
                _as_json(image.metadata),
            )


def _as_json(metadata: dict[str, str] | None) -> str | None:
    if not metadata:
        return None
    said = {_storable(name): _storable(value) for name, value in metadata.items()}
    return json.dumps(said, ensure_ascii=False)


@lru_cache(maxsize=1024)
def _storable(text: str | None) -> str | None:
    """Return what an uploader wrote, without what Postgres does not take: NUL, half characters."""
    if text is None:
        return None
    return text.replace("\0", "").encode(errors="replace").decode()


async def _require_images(connection: Connection, run: Run, lister: ImageLister) -> None:
    """Nothing listed and nothing indexed is a mistake; nothing listed any more is for the guard."""
    if lister.images:
        return
    options = run.options
    space = await find_space(connection, options.space)
    if space and await count_images(connection, space, options.bucket, options.prefix):
        return
    where = f"gs://{options.bucket}/{options.prefix}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in lister.skipped.items())
    raise NothingToEmbed(
        f"{where} holds no image to embed: {count(lister.objects, 'object')}"
        f"{f' ({reasons})' if reasons else ''}. Expected {', '.join(run.model.formats)} files."
        " Check the bucket and the prefix. Nothing was changed."
    )
