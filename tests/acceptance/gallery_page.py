"""The gallery's page in a headless Chromium: how the tests ask it, and what they read from it."""

import asyncio
import re
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Locator, Page, Route, ViewportSize, expect

from tests.acceptance.browser import SCREENSHOTS
from tests.acceptance.programs import PATIENCE_SECONDS

PLANE = "planes/airplane.png"
PHONE: ViewportSize = {"width": 390, "height": 844}

DROP = """([encoded, type]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const brought = new DataTransfer();
    brought.items.add(new File([bytes], "mine", { type }));
    return brought;
}"""

CHOOSE_ONLY = """addEventListener("change", (event) => {
    event.stopImmediatePropagation();
    window.chosen = event.target.files[0];
}, { capture: true, once: true })"""
"""Keep the file that is chosen next, and let the page not know of it yet."""

DROP_CHOSEN = """() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(window.chosen);
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""

PASTE = """(target, clipboardData) =>
    target.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }))"""


async def said_address(gallery: Process) -> str:
    """Return the address that a gallery prints when it has started."""
    assert gallery.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = (await gallery.stdout.readline()).decode()
    found = re.fullmatch(r"The gallery: (http://127\.0\.0\.1:\d+)/\n", line)
    assert found is not None, line
    return found[1]


@asynccontextmanager
async def watched(page: Page, address: str) -> AsyncIterator[None]:
    """Check at the end that the page asked the gallery alone for anything, and no script failed."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith(f"{address}/")] == []
    assert complaints == []


@asynccontextmanager
async def held_up(page: Page, *addresses: str) -> AsyncIterator[None]:
    """Let the next answer from each address come only at the block's end, though it be given."""
    over = asyncio.Event()
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        await over.wait()
        await route.fulfill(response=answer)
        arrived.put_nowait(route.request.url)

    for address in addresses:
        await page.route(address, hold, times=1)
    yield
    over.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in addresses:
            await arrived.get()
    # Whatever waits in the page for those has run when this has.
    await page.evaluate("fetch('/health').then((answer) => answer.text())")


async def settled(page: Page) -> Locator:
    """Wait until the page shows what its address says; return the tiles."""
    await expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
    return page.locator("a.tile")


async def names(page: Page) -> list[str]:
    """Return the names of the images that are shown, in their order."""
    return [str(await tile.get_attribute("title")) for tile in await (await settled(page)).all()]


async def distances(page: Page) -> list[float]:
    """Return the distances that are shown, in their order."""
    return [float(text) for text in await page.locator(".distance").all_inner_texts()]


async def painted(tile: Locator) -> None:
    """Check that a tile's picture is really there."""
    await expect(tile.locator("img.there")).to_have_js_property("complete", value=True)
    assert await tile.locator("img").evaluate("image => image.naturalWidth") >= 320


async def asked_width(page: Page) -> int:
    """Return how many pixels wide the picture is that was asked with, once it can be painted."""
    asked = page.locator("#asked")
    width: int = await asked.evaluate("image => image.decode().then(() => image.naturalWidth)")
    return width


async def keep(page: Page, name: str) -> None:
    """Leave a screenshot for people to look at, its pictures painted."""
    await painted((await settled(page)).first)
    await page.screenshot(path=SCREENSHOTS / f"gallery-{name}.png")


async def search(page: Page, text: str) -> None:
    """Ask with a sentence."""
    await page.get_by_label("Describe a picture").fill(text)
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("heading", name=f"“{text}”")).to_be_visible()
