"""What a visitor types and where they are on the gallery's page, while its answers come."""

import asyncio

from playwright.async_api import Page, Route, expect

from tests.acceptance.gallery_page import held_up, search, settled


async def test_what_is_typed_while_the_page_tries_again_stays(gallery_page: Page) -> None:
    await settled(gallery_page)
    await search(gallery_page, "airliner")
    await settled(gallery_page)
    tries: asyncio.Queue[str] = asyncio.Queue()

    async def fail(route: Route) -> None:
        await route.abort()
        tries.put_nowait(route.request.url)

    await gallery_page.route("**/api/similar*", fail)
    await gallery_page.reload()
    await tries.get()
    sentence = gallery_page.get_by_label("Describe a picture")
    await sentence.fill("a ship")
    while not tries.empty():
        tries.get_nowait()
    await tries.get()
    await expect(sentence).to_have_value("a ship")
    await expect(sentence).to_be_focused()


async def test_the_way_back_from_a_typed_filter_empties_its_box(gallery_page: Page) -> None:
    await settled(gallery_page)
    prefix = gallery_page.get_by_label("Only names that begin with")
    await prefix.press_sequentially("birds/f")
    await expect(gallery_page.get_by_role("heading", name="birds/f")).to_be_visible()
    await gallery_page.go_back()
    await expect(gallery_page.get_by_role("heading", name="All pictures")).to_be_visible()
    await expect(prefix).to_have_value("")


async def test_an_answer_leaves_who_refines_the_sentence_in_its_field(gallery_page: Page) -> None:
    await settled(gallery_page)
    sentence = gallery_page.get_by_label("Describe a picture")
    async with held_up(gallery_page, "**/api/similar*"):
        await sentence.fill("castle")
        await gallery_page.keyboard.press("Enter")
        await sentence.focus()
        await gallery_page.keyboard.press("End")
        await gallery_page.keyboard.type(" by")
    await expect(gallery_page.get_by_role("heading", name="“castle”")).to_be_visible()
    await expect(gallery_page.locator("a.tile")).to_have_count(48)
    await gallery_page.keyboard.type(" night")
    await expect(sentence).to_have_value("castle by night")


async def test_an_answer_leaves_who_walks_through_the_indexes_in_their_list(
    gallery_page: Page,
) -> None:
    await settled(gallery_page)
    index = gallery_page.get_by_role("combobox", name="Index")
    await expect(index).to_have_value("image_embeddings")
    await index.focus()
    await gallery_page.keyboard.press("ArrowDown")
    await expect(gallery_page.locator("#summary")).to_have_text("24 images")
    await expect(index).to_be_focused()
    await gallery_page.keyboard.press("ArrowUp")
    await expect(gallery_page.locator("#summary")).to_have_text("100 of 165 images")
    await expect(index).to_be_focused()


async def test_the_link_to_the_pictures_only_moves_the_focus(gallery_page: Page) -> None:
    await settled(gallery_page)
    await gallery_page.get_by_role("link", name="Next").click()
    await expect(gallery_page.locator("a.tile")).to_have_count(65)
    asked: list[str] = []
    gallery_page.on("request", lambda request: asked.append(request.url))
    length = "history.length"
    address, before = gallery_page.url, await gallery_page.evaluate(length)
    skip = gallery_page.get_by_role("link", name="Skip to the pictures")
    await skip.focus()
    await gallery_page.keyboard.press("Enter")
    await expect(gallery_page.get_by_role("heading", level=1)).to_be_focused()
    # Whatever the page asks for because of the key is asked for when this has been answered.
    await gallery_page.evaluate("fetch('/health').then((answer) => answer.text())")
    assert (gallery_page.url, await gallery_page.evaluate(length)) == (address, before)
    assert [url for url in asked if "/api/" in url] == []
    await gallery_page.keyboard.press("Escape")
    await expect(gallery_page.locator("a.tile")).to_have_count(100)
