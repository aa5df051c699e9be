"""Asking the gallery in a browser: with a sentence, by a click, with a picture of one's own."""

import base64
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.gallery_page import (
    CHOOSE_ONLY,
    DROP,
    DROP_CHOSEN,
    PASTE,
    PLANE,
    asked_width,
    distances,
    held_up,
    keep,
    names,
    search,
    settled,
)
from tests.acceptance.readme_pictures import keep_for_readme


async def test_a_sentence_finds_its_kind(gallery_page: Page) -> None:
    await settled(gallery_page)
    for text, kind in (
        ("airliner", "planes/"),
        ("flamingo", "birds/"),
        ("violin", "instruments/"),
        ("castle", "buildings/"),
    ):
        await search(gallery_page, text)
        assert (await names(gallery_page))[0].startswith(kind)
        told = await distances(gallery_page)
        assert told == sorted(told)
        assert len(told) == 48
        if text == "airliner":
            await keep(gallery_page, "sentence")


async def test_a_click_shows_what_is_nearest_and_the_way_back_is_where_one_was(
    gallery_page: Page,
) -> None:
    await settled(gallery_page)
    await search(gallery_page, "airliner")
    clicked = (await names(gallery_page))[20]
    tile = gallery_page.locator("a.tile").nth(20)
    await tile.scroll_into_view_if_needed()
    where = await gallery_page.evaluate("scrollY")
    await tile.click()
    await expect(gallery_page.locator("#more code")).to_have_text(f"gs://birdwalk/{clicked}")
    assert clicked not in await names(gallery_page)
    assert (await distances(gallery_page))[0] < 1
    assert await asked_width(gallery_page) > 320
    await gallery_page.reload()
    await expect(gallery_page.locator("#more code")).to_have_text(f"gs://birdwalk/{clicked}")
    await gallery_page.keyboard.press("Escape")
    await expect(gallery_page.get_by_role("heading", name="“airliner”")).to_be_visible()
    await settled(gallery_page)
    assert await gallery_page.evaluate("scrollY") == pytest.approx(where, abs=2)
    await expect(gallery_page.locator("a.tile").nth(20)).to_be_focused()


@pytest.mark.parametrize("way", ["drop", "choose"])
async def test_a_picture_of_ones_own_is_asked_with(
    gallery_page: Page, way: str, stack_directory: Path, tmp_path: Path
) -> None:
    await settled(gallery_page)
    mine = tmp_path / "mine.png"
    mine.write_bytes((stack_directory / "samples" / PLANE).read_bytes())
    if way == "drop":
        encoded = base64.b64encode(mine.read_bytes()).decode()
        brought = await gallery_page.evaluate_handle(DROP, [encoded, "image/png"])
        await gallery_page.dispatch_event("main", "dragover", {"dataTransfer": brought})
        await expect(gallery_page.get_by_text("Drop the picture")).to_be_visible()
        await gallery_page.dispatch_event("main", "drop", {"dataTransfer": brought})
    else:
        await gallery_page.get_by_label("Ask with a picture of yours").set_input_files(mine)
    await expect(gallery_page.get_by_role("heading", name="Like your picture")).to_be_visible()
    await expect(gallery_page.get_by_text("Drop the picture")).to_be_hidden()
    assert (await names(gallery_page))[0] == PLANE
    assert (await distances(gallery_page))[0] == pytest.approx(0, abs=0.002)
    assert await asked_width(gallery_page) == 512
    if way == "drop":
        await keep(gallery_page, "dropped")
        await keep_for_readme(gallery_page, "gallery", gallery_page.locator("a.tile").first)
        await gallery_page.reload()
        assert (await names(gallery_page))[0] == PLANE


async def test_a_picture_that_arrives_late_leads_nobody_away_from_where_they_went(
    gallery_page: Page, stack_directory: Path
) -> None:
    await settled(gallery_page)
    async with held_up(gallery_page, "**/api/pictures*"):
        await gallery_page.get_by_label("Ask with a picture of yours").set_input_files(
            stack_directory / "samples" / PLANE
        )
        await expect(gallery_page.get_by_role("heading", level=1)).to_contain_text("Looking at")
        await gallery_page.get_by_role("link", name="Next").click()
        await expect(gallery_page.locator("a.tile")).to_have_count(65)
        address = gallery_page.url
    await expect(gallery_page.get_by_role("heading", level=1)).to_have_text("All pictures")
    assert gallery_page.url == address


@pytest.mark.parametrize(
    ("field", "words", "asks"),
    [("Describe a picture", True, False), ("Describe a picture", False, True), (None, True, True)],
)
async def test_pasted_words_in_a_field_are_no_picture_to_ask_with(
    gallery_page: Page, stack_directory: Path, field: str | None, *, words: bool, asks: bool
) -> None:
    await settled(gallery_page)
    asked: list[str] = []
    gallery_page.on("request", lambda request: asked.append(request.method))
    encoded = base64.b64encode((stack_directory / "samples" / PLANE).read_bytes()).decode()
    brought = await gallery_page.evaluate_handle(DROP, [encoded, "image/png"])
    if words:
        await brought.evaluate("brought => brought.setData('text/plain', 'a plane')")
    target = gallery_page.get_by_label(field) if field else gallery_page.locator("main")
    await target.evaluate(PASTE, brought)
    if asks:
        await expect(gallery_page.get_by_role("heading", name="Like your pic")).to_be_visible()
    else:
        await search(gallery_page, "airliner")
    assert ("POST" in asked) == asks


async def test_a_file_that_is_no_picture_is_said_to_be_none(
    gallery_page: Page, tmp_path: Path
) -> None:
    await settled(gallery_page)
    (tmp_path / "notes.png").write_text("no picture")
    await gallery_page.get_by_label("Ask with a picture of yours").set_input_files(
        tmp_path / "notes.png"
    )
    await expect(gallery_page.get_by_role("alert")).to_contain_text(
        "The picture is not a picture. Give a"
    )
    await gallery_page.get_by_role("button", name="Back to the pictures").click()
    await expect(gallery_page.locator("a.tile")).to_have_count(100)


async def test_a_file_that_cannot_be_read_is_not_taken_for_a_gallery_that_is_away(
    gallery_page: Page, stack_directory: Path, tmp_path: Path
) -> None:
    await settled(gallery_page)
    mine = tmp_path / "mine.png"
    mine.write_bytes((stack_directory / "samples" / PLANE).read_bytes())
    await gallery_page.evaluate(CHOOSE_ONLY)
    await gallery_page.get_by_label("Ask with a picture of yours").set_input_files(mine)
    mine.unlink()
    await gallery_page.evaluate(DROP_CHOSEN)
    alert = gallery_page.get_by_role("alert")
    await expect(alert).to_contain_text("This file cannot be read. Choose a picture.")
    await expect(alert).not_to_contain_text("tries again by itself")
    await gallery_page.get_by_role("button", name="Back to the pictures").click()
    await expect(gallery_page.locator("a.tile")).to_have_count(100)


async def test_what_the_model_could_not_answer_is_asked_again(gallery_page: Page) -> None:
    await settled(gallery_page)
    busy = {"error": "The model is busy.", "kind": "QuotaExceeded", "passing": False}
    for way in ("Search", "Try again"):
        await gallery_page.route(
            "**/api/similar*", lambda route: route.fulfill(status=503, json=busy)
        )
        await gallery_page.get_by_label("Describe a picture").fill("airliner")
        await gallery_page.get_by_role("button", name="Search").click()
        await expect(gallery_page.get_by_role("alert")).to_contain_text("The model is busy.")
        await gallery_page.unroute("**/api/similar*")
        await gallery_page.get_by_role("button", name=way).click()
        await expect(gallery_page.get_by_role("heading", name="“airliner”")).to_be_visible()
        await expect(gallery_page.locator("a.tile")).to_have_count(48)
        await expect(gallery_page.get_by_role("alert")).to_be_empty()
