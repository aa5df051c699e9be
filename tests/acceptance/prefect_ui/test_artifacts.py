"""Each artifact opened in each of Prefect's interfaces: it can be read, and is whole."""

import pytest
from playwright.async_api import Page
from prefect.client.orchestration import PrefectClient

from tests.acceptance.browser import Screen, cells, cut_off, pictures
from tests.acceptance.recorded import artifact_of
from tests.acceptance.shown import SENTENCE, ShownRuns
from tests.support.waiting import until

TEXTS = {
    "plan": ("47 calls, $0.0047", "new: birds/bird-mirrored.jpg, birds/bird.png"),
    "progress": ("47 of 47 images, 0 left", "100%"),
    "refusals": (
        "3 images the model will not accept",
        "The image could not be decoded: Truncated File Read.",
        "after 1 attempt: broken/a|b.jpg",
    ),
    "leftovers": (
        "Images that got no vector in their time: 1. The next run asks for them again.",
        "The service answered UNAVAILABLE",
        "Such as birds/flamingo.png",
    ),
    "run-summary": ("refused", "$0.0044"),
    "gate": ("Every check held.",),
    "similar-images": (f"Nearest to “{SENTENCE}”", "the model was called once"),
    "duplicates": ("within an L2 distance of 0.4", "planes/airplane-mirrored.png"),
    "index-health": (
        "image_embeddings is in order",
        "searches are exact",
        "yes: every bucket was listed lately",
        "multimodalembedding@001, 256 dimensions, crop-subject-1",
    ),
    "spaces": (
        "The spaces of image_embeddings against the 44 images that it shows",
        "times are UTC.",
        "multimodalembedding@001, 256 dimensions, crop-subject-1",
    ),
}
"""What can be read on the page of each artifact."""

RAW = ("| ---", "](", "data:image", '{"', "**", "`")
"""Markup and data that nobody should have to read."""

SPACES = ("space", "status", "vectors", "images shown", "missing", "refused")
TABLES = {
    "plan": (
        ["images", "how many", "calls", "what becomes of them"],
        ["guard", "holds", "otherwise"],
    ),
    "gate": (["check", "held", "found"],),
    "similar-images": (["rank", "image", "L2 distance"],),
    "index-health": (
        [*SPACES],
        ["table", "size", "indexes", "HNSW", "dead rows"],
        ["bucket", "last listed", "last published"],
    ),
    "spaces": ([*SPACES, "published"],),
}
PICTURES = ("similar-images", "duplicates")


async def painted(page: Page) -> bool:
    """Return whether a page shows one picture, large enough to see something."""
    widths = await pictures(page)
    return len(widths) == 1 and min(widths[0]) > 300


@pytest.mark.parametrize("key", TEXTS)
async def test_an_artifact_can_be_read_and_nothing_of_it_is_cut_off(
    shown: ShownRuns, prefect_client: PrefectClient, screen: Screen, key: str
) -> None:
    artifact = await artifact_of(prefect_client, shown.by_key[key].id, key)
    assert len(str(artifact.data)) < 220_000
    page = await screen.open_artifact(artifact)
    for text in TEXTS[key]:
        await screen.reads(text)
    for number, headings in enumerate(TABLES.get(key, ())):
        table = page.locator("table").nth(number)
        head, *rows = await cells(table)
        assert head == headings
        assert rows
        assert await cut_off(table) == ""
    if key in PICTURES:
        await until(lambda: painted(page))
    else:
        assert await pictures(page) == []
    await screen.keep(key)
    text = await screen.text()
    assert [mark for mark in RAW if mark in text] == []


async def test_the_neighbours_of_a_question_are_links_to_the_pictures(
    shown: ShownRuns, prefect_client: PrefectClient, screen: Screen
) -> None:
    run = shown.by_key["similar-images"]
    artifact = await artifact_of(prefect_client, run.id, "similar-images")
    page = await screen.open_artifact(artifact)
    links = page.locator("table a")
    await links.nth(3).wait_for()
    for link in await links.all():
        address = await link.get_attribute("href")
        assert address is not None
        answer = await page.request.get(address)
        assert answer.headers["content-type"].startswith("image/")
