"""Prefect's two interfaces in a headless Chromium."""

import io
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, Page, Route, async_playwright, expect

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
]
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


async def _only_loopback(route: Route) -> None:
    if urlsplit(route.request.url).hostname in {"127.0.0.1", "localhost"}:
        await route.continue_()
    else:
        await route.abort()


async def new_page(browser: Browser) -> Page:
    """Open a page from which no other machine can be reached."""
    page = await browser.new_page(viewport={"width": 1400, "height": 1000})
    await page.route("**/*", _only_loopback)
    return page


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

    async def open(self, path: str) -> Page:
        """Open a path that both interfaces have, such as runs/flow-run/ID."""
        prefix = "v2/" if self.interface == "v2" else ""
        await self.page.goto(f"{self.root}/{prefix}{path}")
        return self.page

    async def keep(self, name: str) -> None:
        """Leave a screenshot for people to look at."""
        path = SCREENSHOTS / f"{self.interface}-{name}.png"
        await self.page.screenshot(path=path, full_page=True)


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
