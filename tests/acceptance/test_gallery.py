"""The gallery in a browser: every way to ask, with the mouse, the keyboard alone, and a phone."""

import asyncio
import base64
import re
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from deployments.local.stack import Stack
from tests.acceptance.browser import SCREENSHOTS, new_page
from tests.acceptance.programs import PATIENCE_SECONDS, Program
from tests.acceptance.readme_pictures import keep_for_readme
from tests.support.databases import fresh_database, settings_for
from tests.support.sync import sync

PLANE = "planes/airplane.png"
PHONE = {"width": 390, "height": 844}

DROP = """([encoded, type]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const brought = new DataTransfer();
    brought.items.add(new File([bytes], "mine", { type }));
    return brought;
}"""


@pytest.fixture(scope="session")
async def address(
    stack: Stack, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Where `python -m deployments.gallery` shows all samples, and another index."""
    async with fresh_database(database_server) as url:
        settings = settings_for(stack, url, tmp_path_factory.mktemp("data"))
        await sync(settings, "birdwalk")
        await sync(settings, "birdwalk", index="some_birds", prefix="birds/")
        environment = {**stack.addresses.environment(), "BIRDWALK_DATABASE_URL": url}
        gallery = await Program("deployments.gallery", environment).start("--port", "0")
        try:
            yield await said_address(gallery)
        finally:
            gallery.terminate()
            await gallery.wait()


async def said_address(gallery: Process) -> str:
    assert gallery.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = (await gallery.stdout.readline()).decode()
    found = re.fullmatch(r"The gallery: (http://127\.0\.0\.1:\d+)/\n", line)
    assert found is not None, line
    return found[1]


@pytest.fixture
async def page(chromium: Browser, address: str) -> AsyncIterator[Page]:
    """A page of the gallery; at the end nothing but the gallery has been asked for anything."""
    opened = await new_page(chromium)
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    await opened.goto(address)
    yield opened
    await opened.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith(f"{address}/")] == []
    assert complaints == []


async def settled(page: Page) -> Locator:
    """Wait until the page shows what its address says; return the tiles."""
    await expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
    return page.locator("a.tile")


async def names(page: Page) -> list[str]:
    return [str(await tile.get_attribute("title")) for tile in await (await settled(page)).all()]


async def distances(page: Page) -> list[float]:
    return [float(text) for text in await page.locator(".distance").all_inner_texts()]


async def painted(tile: Locator) -> None:
    """Check that a tile's picture is really there."""
    await expect(tile.locator("img.there")).to_have_js_property("complete", value=True)
    assert await tile.locator("img").evaluate("image => image.naturalWidth") >= 320


async def keep(page: Page, name: str) -> None:
    """Leave a screenshot for people to look at, its pictures painted."""
    await painted((await settled(page)).first)
    await page.screenshot(path=SCREENSHOTS / f"gallery-{name}.png")


async def search(page: Page, text: str) -> None:
    await page.get_by_label("Describe a picture").fill(text)
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("heading", name=f"“{text}”")).to_be_visible()


async def test_the_whole_index_is_paged_through(page: Page) -> None:
    first = await names(page)
    assert (len(first), first[0]) == (100, "balls/american-football.png")
    await painted(page.locator("a.tile").first)
    await expect(page.locator("#summary")).to_have_text("100 of 165 images")
    await keep(page, "all")
    await page.get_by_role("link", name="Next").click()
    await expect(page.locator("a.tile")).to_have_count(65)
    second = await names(page)
    assert not set(first) & set(second)
    await page.reload()
    assert await names(page) == second
    await page.get_by_role("link", name="Previous").click()
    await expect(page.locator("a.tile")).to_have_count(100)
    assert await names(page) == first
    await page.go_back()
    await expect(page.locator("a.tile")).to_have_count(65)


async def test_the_foot_tells_the_spaces_and_the_last_sync(page: Page) -> None:
    foot = page.locator("footer")
    await expect(foot).to_contain_text("Last sync")
    await expect(foot).to_contain_text(re.compile(r"gs://birdwalk/, \d+ (second|minute)s? ago"))
    await expect(foot.locator("tr.shown")).to_have_text(
        re.compile(r"multimodalembedding@001\s*128\s*165\s*exact\s*shown")
    )


async def test_a_sentence_finds_its_kind(page: Page) -> None:
    await settled(page)
    for text, kind in (
        ("airliner", "planes/"),
        ("flamingo", "birds/"),
        ("violin", "instruments/"),
        ("castle", "buildings/"),
    ):
        await search(page, text)
        assert (await names(page))[0].startswith(kind)
        told = await distances(page)
        assert told == sorted(told)
        assert len(told) == 48
        if text == "airliner":
            await keep(page, "sentence")


async def test_a_click_shows_what_is_nearest_and_the_way_back_is_where_one_was(page: Page) -> None:
    await settled(page)
    await search(page, "airliner")
    clicked = (await names(page))[20]
    tile = page.locator("a.tile").nth(20)
    await tile.scroll_into_view_if_needed()
    where = await page.evaluate("scrollY")
    await tile.click()
    await expect(page.locator("#more code")).to_have_text(f"gs://birdwalk/{clicked}")
    assert clicked not in await names(page)
    assert (await distances(page))[0] < 1
    assert (
        await page.locator("#asked").evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        > 320
    )
    await page.reload()
    await expect(page.locator("#more code")).to_have_text(f"gs://birdwalk/{clicked}")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="“airliner”")).to_be_visible()
    await settled(page)
    assert await page.evaluate("scrollY") == pytest.approx(where, abs=2)
    await expect(page.locator("a.tile").nth(20)).to_be_focused()


@pytest.mark.parametrize("way", ["drop", "choose"])
async def test_a_picture_of_ones_own_is_asked_with(
    page: Page, way: str, stack_directory: Path, tmp_path: Path
) -> None:
    await settled(page)
    mine = tmp_path / "mine.png"
    mine.write_bytes((stack_directory / "samples" / PLANE).read_bytes())
    if way == "drop":
        encoded = base64.b64encode(mine.read_bytes()).decode()
        brought = await page.evaluate_handle(DROP, [encoded, "image/png"])
        await page.dispatch_event("main", "dragover", {"dataTransfer": brought})
        await expect(page.get_by_text("Drop the picture")).to_be_visible()
        await page.dispatch_event("main", "drop", {"dataTransfer": brought})
    else:
        await page.get_by_label("Ask with a picture of yours").set_input_files(mine)
    await expect(page.get_by_role("heading", name="Like your picture")).to_be_visible()
    await expect(page.get_by_text("Drop the picture")).to_be_hidden()
    assert (await names(page))[0] == PLANE
    assert (await distances(page))[0] == pytest.approx(0, abs=0.002)
    assert (
        await page.locator("#asked").evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        == 512
    )
    if way == "drop":
        await keep(page, "dropped")
        await keep_for_readme(page, "gallery", page.locator("a.tile").first)
        await page.reload()
        assert (await names(page))[0] == PLANE


async def test_a_file_that_is_no_picture_is_said_to_be_none(page: Page, tmp_path: Path) -> None:
    await settled(page)
    (tmp_path / "notes.png").write_text("no picture")
    await page.get_by_label("Ask with a picture of yours").set_input_files(tmp_path / "notes.png")
    await expect(page.get_by_role("alert")).to_contain_text("The picture is not a picture. Give a")
    await page.get_by_role("button", name="Back to the pictures").click()
    await expect(page.locator("a.tile")).to_have_count(100)


async def test_a_prefix_filters_the_pages_and_the_answers(page: Page) -> None:
    await settled(page)
    await page.get_by_label("Only names that begin with").press_sequentially("birds/f")
    await expect(page.get_by_role("heading", name="birds/f")).to_be_visible()
    assert await names(page) == ["birds/flamingo-mirrored.jpg", "birds/flamingo.png"]
    await expect(page.locator("#summary")).to_have_text("2 images")
    await page.get_by_label("Only names that begin with").press_sequentially("lamingo.")
    await expect(page.locator("#summary")).to_have_text("1 image")
    await page.get_by_role("link", name="ships/").click()
    await expect(page.get_by_role("heading", name="ships/")).to_be_visible()
    assert {name.split("/")[0] for name in await names(page)} == {"ships"}
    await search(page, "airliner")
    assert {name.split("/")[0] for name in await names(page)} == {"ships"}
    await page.get_by_role("link", name="All", exact=True).click()
    await expect(page.locator("a.tile")).to_have_count(48)
    assert (await names(page))[0].startswith("planes/")


async def test_folders_that_could_not_be_read_are_asked_for_again(page: Page) -> None:
    await settled(page)
    await page.route("**/api/folders*", lambda route: route.abort())
    await page.goto(page.url)
    await settled(page)
    folders = page.get_by_role("navigation", name="Folders")
    await expect(page.locator("#summary")).to_have_text("100 of 165 images")
    await expect(folders).to_be_empty()
    await page.unroute("**/api/folders*")
    await page.get_by_role("link", name="Next").click()
    await expect(folders).to_contain_text("ships/")


async def test_a_half_typed_filter_is_no_part_of_the_next_view(page: Page) -> None:
    tile = (await settled(page)).first
    await tile.evaluate(
        """tile => {
            const prefix = document.getElementById("prefix");
            prefix.focus();
            prefix.value = "bir";
            prefix.dispatchEvent(new Event("input"));
            tile.click();
        }"""
    )
    await expect(page.locator("#more code")).to_be_visible()
    await page.wait_for_timeout(600)
    assert "prefix" not in page.url


async def test_another_index_is_chosen(page: Page) -> None:
    await settled(page)
    await page.get_by_role("combobox", name="Index").select_option("some_birds")
    await expect(page.locator("#summary")).to_have_text("24 images")
    await expect(page.locator("footer")).to_contain_text("gs://birdwalk/birds/")
    await search(page, "castle")
    assert {name.split("/")[0] for name in await names(page)} == {"birds"}


async def test_the_keyboard_is_enough(page: Page) -> None:
    tiles = await settled(page)
    await page.keyboard.press("/")
    await expect(page.get_by_label("Describe a picture")).to_be_focused()
    await page.keyboard.type("flamingo")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="“flamingo”")).to_be_focused()
    found = await names(page)
    await page.keyboard.press("ArrowDown")
    await expect(tiles.first).to_be_focused()
    ring = await tiles.first.evaluate("tile => getComputedStyle(tile).outlineStyle")
    assert ring == "solid"
    await page.keyboard.press("ArrowRight")
    await expect(tiles.nth(1)).to_be_focused()
    await page.keyboard.press("ArrowDown")
    columns = await page.locator("#grid").evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    await expect(tiles.nth(1 + columns)).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Enter")
    await expect(page.locator("#more code")).to_have_text(f"gs://birdwalk/{found[0]}")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="“flamingo”")).to_be_visible()
    await expect(tiles.first).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(tiles.nth(1)).to_be_focused()
    await expect(page.get_by_role("status")).to_have_text(
        "“flamingo”: 48 images, the nearest first", timeout=5_000
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_it_all_without_scrolling_sideways(
    chromium: Browser, address: str, scheme: str
) -> None:
    context = await chromium.new_context(
        viewport=PHONE,  # type: ignore[arg-type]  # a ViewportSize
        color_scheme=scheme,  # type: ignore[arg-type]  # one of them
        device_scale_factor=2,
        has_touch=True,
        is_mobile=True,
    )
    page = await context.new_page()
    for name, path in (
        ("all", "/"),
        ("click", f"/?image=gs://birdwalk/{PLANE}"),
        ("error", "/?index=none"),
    ):
        await page.goto(f"{address}{path}")
        await settled(page)
        if name == "error":
            await expect(page.get_by_role("alert")).to_contain_text("Index 'none' does not exist")
        else:
            await page.wait_for_timeout(200)
            await keep(page, f"phone-{scheme}-{name}")
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], name
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
    await context.close()


async def test_what_the_model_could_not_answer_is_asked_again(page: Page) -> None:
    await settled(page)
    busy = {"error": "The model is busy.", "kind": "QuotaExceeded", "passing": False}
    for way in ("Search", "Try again"):
        await page.route("**/api/similar*", lambda route: route.fulfill(status=503, json=busy))
        await page.get_by_label("Describe a picture").fill("airliner")
        await page.get_by_role("button", name="Search").click()
        await expect(page.get_by_role("alert")).to_contain_text("The model is busy.")
        await page.unroute("**/api/similar*")
        await page.get_by_role("button", name=way).click()
        await expect(page.get_by_role("heading", name="“airliner”")).to_be_visible()
        await expect(page.locator("a.tile")).to_have_count(48)
        await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_gallery_that_was_away_is_shown_again_when_it_is_back(page: Page) -> None:
    await settled(page)
    await page.route("**/api/**", lambda route: route.abort())
    await page.get_by_role("link", name="Next").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("The gallery does not answer. Is it still running?")
    await expect(alert).to_contain_text("This page tries again by itself.")
    await page.unroute("**/api/**")
    await expect(page.locator("a.tile")).to_have_count(65)
    await expect(alert).to_be_empty()
