"""Prefect's two interfaces in a headless Chromium."""

import asyncio
import io
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, Page, ViewportSize, async_playwright, expect
from prefect.client.schemas.objects import Artifact

from tests.acceptance.programs import ROOT

Interface = Literal["v2", "v1"]

CHROMIUM_OPTIONS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No other machine is reached; unlike a route of Playwright's this keeps the browser's cache.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SCREEN_WIDTH = 1400
SCREEN: ViewportSize = {"width": SCREEN_WIDTH, "height": 1000}
"""As wide as a small laptop's."""

TALL_SCREEN: ViewportSize = {"width": SCREEN_WIDTH, "height": 1600}
"""Nearly every page of Prefect's is whole on it, and needs not grow for its screenshot."""

FOLLOW = """path => {
    history.pushState(history.state, "", path);
    dispatchEvent(new PopStateEvent("popstate", {state: history.state}));
}"""
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS_DIRECTORY") or ROOT / "build/screenshots")
expect.set_options(timeout=30_000)


def find_chromium() -> str:
    """Return Chromium's path; without one the test fails in CI, and is skipped elsewhere."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "There is no Chromium. On Debian: apt-get install chromium"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """Yield a browser with an empty profile."""
    path = find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        await browser.close()


async def new_page(browser: Browser) -> Page:
    """Open a page with no past."""
    return await browser.new_page(viewport=SCREEN)


@dataclass(frozen=True, slots=True)
class Screen:
    """A page of one of Prefect's interfaces.

    Attributes:
        interface: v2, which the root address leads to, or v1.
        root: the server's address.
        page: Playwright's.
    """

    interface: Interface
    root: str
    page: Page

    async def open(self, path: str, shows: str) -> Page:
        """Open a path that both interfaces have, such as runs/flow-run/ID, and wait for a text.

        V2 is led there as its own links do, without being loaded again: that takes seconds. V1
        would keep parts of the page before.
        """
        address = ("/v2/" if self.interface == "v2" else "/") + path
        if self.interface == "v2" and self.page.url.startswith(self.root + "/v2/"):
            await self.page.evaluate(FOLLOW, address)
        else:
            await self.page.goto(self.root + address)
        await expect(self.page.get_by_text(shows, exact=True).first).to_be_visible()
        return self.page

    async def open_artifact(self, artifact: Artifact) -> Page:
        """Open the page of an artifact, whose id it shows."""
        return await self.open(f"artifacts/artifact/{artifact.id}", shows=str(artifact.id))

    async def keep(self, name: str) -> None:
        """Leave a screenshot for people to look at."""
        path = SCREENSHOTS / f"{self.interface}-{name}.png"
        await self.page.screenshot(path=path, full_page=True)

    async def reads(self, text: str) -> None:
        """Wait until a text can be read on the page, wherever lines are broken."""
        words = re.compile(r"\s+".join(map(re.escape, text.split())))
        await expect(self.page.locator("body")).to_contain_text(words, use_inner_text=True)

    async def text(self) -> str:
        """Return what can be read on the page."""
        return await self.page.locator("body").inner_text()


async def cells(table: Locator) -> list[list[str]]:
    """Return a rendered table's texts, row by row, once the page draws it no more."""
    await expect(table.locator("tr").nth(1)).to_be_visible()
    before: list[list[str]] | None = None
    while (now := await _read_cells(table)) != before or not all(now):
        before = now
        await asyncio.sleep(0.2)
    return now


async def _read_cells(table: Locator) -> list[list[str]]:
    # In one call: between two the page may draw the table anew.
    rows: list[list[str]] = await table.evaluate(
        "table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


async def pictures(page: Page) -> list[tuple[int, int]]:
    """Return how wide the pictures inside a page's text are: really, and as painted."""
    # In one call: between two the page may draw them anew.
    found: list[tuple[int, int]] = await page.evaluate(
        """[...document.querySelectorAll("img[src^='data:image/png']")].map(
            (image) => [image.complete ? image.naturalWidth : 0, image.clientWidth])"""
    )
    return found


async def cut_off(table: Locator) -> str:
    """Return what of a table lies beyond the edge of its frame; nothing, where all is seen."""
    found: str = await table.evaluate(
        """table => {
            for (let frame = table; frame !== document.body; frame = frame.parentElement)
                if (frame.scrollWidth > frame.clientWidth + 2)
                    return `${frame.scrollWidth} px in ${frame.clientWidth}: ${table.innerText}`;
            return "";
        }"""
    )
    return found


def green_pixels(png: bytes) -> int:
    """Count the pixels in the green of completed runs."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours = picture.getcolors(1 << 24) or []
    return sum(
        count
        for count, colour in colours
        if isinstance(colour, tuple) and colour[1] > max(colour[0], colour[2]) + 60
    )


def difference(png: bytes, file: Path) -> float:
    """Return how far two pictures are apart at a glance: mean over grey levels, 0 to 255."""
    size = (120, 60)
    seen = np.asarray(Image.open(io.BytesIO(png)).convert("L").resize(size), np.float32)
    wanted = np.asarray(Image.open(file).convert("L").resize(size), np.float32)
    return float(np.abs(seen - wanted).mean())
