"""The gallery by the keyboard alone, and on a phone."""

import re
import string

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.gallery_page import PHONE, PLANE, keep, names, settled, watched


async def test_the_keyboard_is_enough(gallery_page: Page) -> None:
    tiles = await settled(gallery_page)
    for _ in range(3):  # past the link to the pictures and the one home
        await gallery_page.keyboard.press("Tab")
    await expect(gallery_page.get_by_label("Describe a picture")).to_be_focused()
    await gallery_page.keyboard.type("flamingo")
    await gallery_page.keyboard.press("Enter")
    await expect(gallery_page.get_by_role("heading", name="“flamingo”")).to_be_focused()
    found = await names(gallery_page)
    await gallery_page.keyboard.press("ArrowDown")
    await expect(tiles.first).to_be_focused()
    ring = await tiles.first.evaluate("tile => getComputedStyle(tile).outlineStyle")
    assert ring == "solid"
    await gallery_page.keyboard.press("ArrowRight")
    await expect(tiles.nth(1)).to_be_focused()
    await gallery_page.keyboard.press("ArrowDown")
    columns = await gallery_page.locator("#grid").evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    await expect(tiles.nth(1 + columns)).to_be_focused()
    await gallery_page.keyboard.press("ArrowUp")
    await gallery_page.keyboard.press("ArrowLeft")
    await gallery_page.keyboard.press("Enter")
    await expect(gallery_page.locator("#more code")).to_have_text(f"gs://birdwalk/{found[0]}")
    await gallery_page.keyboard.press("Escape")
    await expect(gallery_page.get_by_role("heading", name="“flamingo”")).to_be_visible()
    await expect(tiles.first).to_be_focused()
    await gallery_page.keyboard.press("Tab")
    await expect(tiles.nth(1)).to_be_focused()
    await expect(gallery_page.get_by_role("status")).to_have_text(
        "“flamingo”: 48 images, the nearest first", timeout=5_000
    )


async def test_no_letter_or_mark_alone_does_anything(gallery_page: Page) -> None:
    # WCAG 2.2, 2.1.4: who speaks to a computer would press them by the dozen.
    await settled(gallery_page)
    address = gallery_page.url
    await gallery_page.locator("a.tile").first.focus()
    for key in string.ascii_letters + string.digits + string.punctuation:
        await gallery_page.keyboard.press(key)
    await expect(gallery_page.locator("a.tile").first).to_be_focused()
    assert gallery_page.url == address


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_it_all_without_scrolling_sideways(
    chromium: Browser, gallery_address: str, scheme: str
) -> None:
    context = await chromium.new_context(
        viewport=PHONE,
        color_scheme=scheme,  # type: ignore[arg-type]  # one of them
        device_scale_factor=2,
        has_touch=True,
        is_mobile=True,
    )
    page = await context.new_page()
    async with watched(page, gallery_address):
        for name, path in (
            ("all", "/"),
            ("click", f"/?image=gs://birdwalk/{PLANE}"),
            ("error", "/?index=none"),
        ):
            await page.goto(f"{gallery_address}{path}")
            await settled(page)
            if name == "error":
                alert = page.get_by_role("alert")
                await expect(alert).to_contain_text("Index 'none' does not exist")
            else:
                await page.wait_for_timeout(200)
                await keep(page, f"phone-{scheme}-{name}")
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == PHONE["width"], name
            paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
    await context.close()
