"""Runs of each flow and ends of each kind, made once, for the tests that look at their pages."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from google.cloud import storage
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from deployments.local.storage.samples import DEMO_QUERY
from tests.acceptance.programs import Program
from tests.acceptance.recorded import record
from tests.support.buckets import LocalBucket, picture

BROKEN = {
    "broken/no picture.png": b"This is text.",
    "broken/cut short.png": picture(3)[:200],
    "broken/a|b.jpg": b"\xff\xd8\xff\xe0 and no more",
}
UNANSWERED = {"instant": True, "errors_by_name": {"birds/flamingo.png": "UNAVAILABLE"}}
QUICKLY = 60_000
SENTENCE = "a plane in the sky"
NOWHERE = "postgresql://birdwalk@127.0.0.1:9/birdwalk"


@dataclass(frozen=True, slots=True)
class ShownRuns:
    """The runs: all by their steps, those that made the artifact of a key, those that failed."""

    by_step: Mapping[str, FlowRun]
    by_key: Mapping[str, FlowRun]
    failed: Mapping[str, FlowRun]


async def make_shown_runs(
    recording: Program, client: PrefectClient, storage_client: storage.Client
) -> ShownRuns:
    """Run each flow on planes, birds, and three objects that are no pictures."""
    bucket = _fill_bucket(storage_client)
    asked = {"bucket": bucket.name, "requests_per_minute": QUICKLY, "query": DEMO_QUERY}

    def sync(**changes: object) -> dict[str, Any]:
        return {"flow": "embed_images", "parameters": {**asked, **changes}}

    # Of what another index has in the same space no call is asked.
    untried = {"index": "another", "dimension": 512}
    steps: dict[str, dict[str, Any]] = {
        "sync": sync(),
        "similar-images": {"flow": "find_similar", "parameters": {"text": SENTENCE, "count": 4}},
        "duplicates": {"flow": "find_duplicates", "parameters": {"distance": 0.4}},
        "another space": sync(dimension=256, crop="subject") | {"model": {"instant": True}},
        "index-health": {"flow": "check_index"},
        "spaces": {"flow": "rollback"},
        "planned": sync(**untried, plan_only=True),
        "dropped": {"flow": "drop_space", "parameters": {"space": 2}},
        "BucketNotFound": sync(bucket="no-such-bucket", index="another"),
        "GuardStopped": sync(**untried, max_price=0.001),
        "TooManyRefusals": sync(max_refusals=0.01),
        "SystemicFailure": sync(**untried) | {"model": {"denied": True}},
        # Its little time holds for all that follow; they ask the model nothing.
        "leftovers": sync(**untried, prefix="birds/", query="birds/bird.png", max_leftovers=1)
        | {"model": UNANSWERED, "environment": {"BIRDWALK_IMAGE_TIME_BUDGET_SECONDS": "0.3"}},
        # The last: all that follow would have no database.
        "DatabaseUnavailable": sync() | {"environment": {"BIRDWALK_DATABASE_URL": NOWHERE}},
    }
    found = await record(client, recording, list(steps.values()))
    runs = dict(zip(steps, found, strict=True))
    of_sync = ("plan", "progress", "refusals", "run-summary", "gate")
    others = ("similar-images", "duplicates", "index-health", "spaces", "leftovers")
    return ShownRuns(
        by_step=runs,
        by_key={**dict.fromkeys(of_sync, runs["sync"]), **{key: runs[key] for key in others}},
        failed={name: run for name, run in runs.items() if name[0].isupper()},
    )


def _fill_bucket(client: storage.Client) -> LocalBucket:
    bucket = LocalBucket(f"shown-{secrets.token_hex(4)}", client)
    client.create_bucket(bucket.name)

    def copy(blob: storage.Blob) -> None:
        bucket.put(blob.name, blob.download_as_bytes(), blob.content_type)

    samples = [*client.list_blobs("birdwalk", prefix="planes/")]
    samples += client.list_blobs("birdwalk", prefix="birds/")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(copy, samples))
    for name, data in BROKEN.items():
        bucket.put(name, data)
    return bucket
