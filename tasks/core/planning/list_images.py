"""Stream a bucket's listing into Postgres: page by page, by COPY, in one transaction."""

import json
from collections.abc import AsyncIterator
from typing import Any

from tasks.core.database.connections import Connection
from tasks.core.database.statements import statements_of
from tasks.core.errors import NothingToEmbed
from tasks.core.google.storage import ImageLister
from tasks.core.runs.run import Run
from tasks.core.runs.space import count_stored
from tasks.core.text import count
from tasks.core.types import Listing

sql = statements_of(__name__)

COLUMNS = ("run_id", "image_id", "generation", "content_type", "content_hash", "updated")
"""Of birdwalk.objects; after the first in the order of ImageRef's fields after the bucket."""


async def list_images(run: Run) -> Listing:
    """Replace the index's last listing by the bucket's present one; return its counts.

    Raises:
        BucketNotFound, BucketForbidden, StorageError: the bucket cannot be listed.
        NothingToEmbed: it holds no image, and the index none of it; the last listing is kept.
    """
    options = run.options
    lister = ImageLister(run.clients.storage, options.bucket, run.model)
    with run.timed("list_images"):
        async with run.database.transaction() as connection:
            await connection.execute(sql("delete_old_objects"), options.index)
            await connection.copy_records_to_table(
                "objects", schema_name="birdwalk", columns=COLUMNS, records=_records(run, lister)
            )
            await _refuse_an_empty_listing(connection, run, lister)
            skipped = dict(lister.skipped)
            await connection.execute(
                sql("update_run_listing"),
                run.run_id,
                lister.objects,
                lister.images,
                json.dumps(skipped),
            )
        # Without it Postgres takes a new run for a few rows, and compares each with each.
        await run.database.analyze(sql("analyze_objects"))
    run.listing = Listing(lister.objects, lister.images, skipped)
    return run.listing


async def _records(run: Run, lister: ImageLister) -> AsyncIterator[tuple[Any, ...]]:
    async for page in lister.pages(run.options.prefix, run.options.limit):
        for image in page:
            yield (run.run_id, *image[1:])


async def _refuse_an_empty_listing(connection: Connection, run: Run, lister: ImageLister) -> None:
    """Nothing listed and nothing stored is a mistake; nothing listed any more is for the guard."""
    if lister.images or await count_stored(connection, run):
        return
    where = f"gs://{run.options.bucket}/{run.options.prefix}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in lister.skipped.items())
    raise NothingToEmbed(
        f"{where} holds no image to embed: {count(lister.objects, 'object')}"
        f"{f' ({reasons})' if reasons else ''}. Expected {', '.join(run.model.formats)} files."
        " Check the bucket and the prefix. Nothing was changed."
    )
