"""Looking through the gallery in a browser: its pages, folders, filter, indexes and foot."""

import asyncio
import re

from playwright.async_api import Page, Route, expect

from tests.acceptance.gallery_page import held_up, keep, names, painted, search, settled

AWAY = "The index cannot be shown right now"
COUNT_CHANGES = """(selector) => {
    const changes = [];
    const watched = { childList: true, subtree: true, characterData: true };
    new MutationObserver((seen) => changes.push(...seen))
        .observe(document.querySelector(selector), watched);
    return changes;
}"""


async def test_the_whole_index_is_paged_through(gallery_page: Page) -> None:
    first = await names(gallery_page)
    assert (len(first), first[0]) == (100, "balls/american-football.png")
    await painted(gallery_page.locator("a.tile").first)
    await expect(gallery_page.locator("#summary")).to_have_text("100 of 165 images")
    await keep(gallery_page, "all")
    await gallery_page.get_by_role("link", name="Next").click()
    await expect(gallery_page.locator("a.tile")).to_have_count(65)
    second = await names(gallery_page)
    assert not set(first) & set(second)
    await gallery_page.reload()
    assert await names(gallery_page) == second
    await gallery_page.get_by_role("link", name="Previous").click()
    await expect(gallery_page.locator("a.tile")).to_have_count(100)
    assert await names(gallery_page) == first
    await gallery_page.go_back()
    await expect(gallery_page.locator("a.tile")).to_have_count(65)


async def test_the_foot_tells_the_spaces_and_the_last_sync(gallery_page: Page) -> None:
    foot = gallery_page.locator("footer")
    await expect(foot).to_contain_text("Last sync")
    await expect(foot).to_contain_text(re.compile(r"gs://birdwalk/, \d+ (second|minute)s? ago"))
    await expect(foot.locator("tr.shown")).to_have_text(
        re.compile(r"multimodalembedding@001\s*128\s*165\s*exact\s*shown")
    )


async def test_a_prefix_filters_the_pages_and_the_answers(gallery_page: Page) -> None:
    await settled(gallery_page)
    await gallery_page.get_by_label("Only names that begin with").press_sequentially("birds/f")
    await expect(gallery_page.get_by_role("heading", name="birds/f")).to_be_visible()
    assert await names(gallery_page) == ["birds/flamingo-mirrored.jpg", "birds/flamingo.png"]
    await expect(gallery_page.locator("#summary")).to_have_text("2 images")
    await gallery_page.get_by_label("Only names that begin with").press_sequentially("lamingo.")
    await expect(gallery_page.locator("#summary")).to_have_text("1 image")
    await gallery_page.get_by_role("link", name="ships/").click()
    await expect(gallery_page.get_by_role("heading", name="ships/")).to_be_visible()
    assert {name.split("/")[0] for name in await names(gallery_page)} == {"ships"}
    await search(gallery_page, "airliner")
    assert {name.split("/")[0] for name in await names(gallery_page)} == {"ships"}
    await gallery_page.get_by_role("link", name="All", exact=True).click()
    await expect(gallery_page.locator("a.tile")).to_have_count(48)
    assert (await names(gallery_page))[0].startswith("planes/")


async def test_folders_that_could_not_be_read_are_asked_for_again(gallery_page: Page) -> None:
    await settled(gallery_page)
    await gallery_page.route("**/api/folders*", lambda route: route.abort())
    await gallery_page.goto(gallery_page.url)
    await settled(gallery_page)
    folders = gallery_page.get_by_role("navigation", name="Folders")
    await expect(gallery_page.locator("#summary")).to_have_text("100 of 165 images")
    await expect(folders).to_be_empty()
    await gallery_page.unroute("**/api/folders*")
    await gallery_page.get_by_role("link", name="Next").click()
    await expect(folders).to_contain_text("ships/")


async def test_folders_that_have_no_room_are_counted(gallery_page: Page) -> None:
    await settled(gallery_page)
    some = {"folders": ["a/", "b/"], "more": 1240, "exact": True}
    none = {"folders": [], "more": 0, "exact": True}
    await gallery_page.route("**/api/folders*", lambda route: route.fulfill(json=some))
    await gallery_page.reload()
    folders = gallery_page.get_by_role("navigation", name="Folders")
    await expect(folders).to_have_text("Alla/b/and 1,240 more")
    some |= {"more": 0, "exact": False}
    await gallery_page.reload()
    await expect(folders).to_have_text("Alla/b/and perhaps more")
    # The one that one is in has room always, and is no longer one of the rest.
    some |= {"more": 3, "exact": True}
    await gallery_page.route("**/api/folders*prefix=*", lambda route: route.fulfill(json=none))
    await gallery_page.goto(f"{gallery_page.url}?prefix=ships/")
    await expect(folders).to_have_text("Alla/b/ships/and 2 more")
    await expect(folders.locator("[aria-current]")).to_have_text("ships/")


async def test_a_begun_name_narrows_the_folders(gallery_page: Page) -> None:
    await settled(gallery_page)
    prefix = gallery_page.get_by_label("Only names that begin with")
    folders = gallery_page.get_by_role("navigation", name="Folders")
    await prefix.press_sequentially("b")
    await expect(folders).to_have_text("Allballs/birds/buildings/")
    await prefix.press_sequentially("i")
    await expect(folders).to_have_text("Allbirds/")
    await prefix.press_sequentially("?")
    await expect(gallery_page.locator("#summary")).to_have_text(
        "No image has a name that begins so"
    )
    await expect(folders).to_have_text("All")


async def test_the_page_before_is_not_drawn_again_when_the_rest_of_it_comes_late(
    gallery_page: Page, gallery_address: str
) -> None:
    async with held_up(gallery_page, "**/api/status*"):
        await gallery_page.goto(gallery_address)
        await gallery_page.get_by_role("link", name="Next").click()
        await expect(gallery_page.locator("a.tile")).to_have_count(65)
    previous = gallery_page.get_by_role("link", name="Previous")
    await expect(previous).to_have_attribute("href", re.compile("before="))
    await expect(gallery_page.locator("#summary")).to_contain_text("65 of 165 images, from")


async def test_late_folders_and_indexes_are_not_drawn_around_the_next_view(
    gallery_page: Page,
) -> None:
    await settled(gallery_page)
    index = gallery_page.get_by_role("combobox", name="Index")
    folders = gallery_page.get_by_role("navigation", name="Folders")
    await expect(folders).to_contain_text("ships/")
    async with held_up(gallery_page, "**/api/folders*", "**/api/indexes"):
        await index.select_option("some_birds")
        await expect(gallery_page.locator("a.tile")).to_have_count(24)
        await gallery_page.go_back()
        await expect(gallery_page.locator("a.tile")).to_have_count(100)
        await expect(index).to_have_value("image_embeddings")
    await expect(index).to_have_value("image_embeddings")
    await expect(folders).to_contain_text("ships/")


async def test_a_half_typed_filter_is_no_part_of_the_next_view(gallery_page: Page) -> None:
    tile = (await settled(gallery_page)).first
    await tile.evaluate(
        """tile => {
            const prefix = document.getElementById("prefix");
            prefix.focus();
            prefix.value = "bir";
            prefix.dispatchEvent(new Event("input"));
            tile.click();
        }"""
    )
    await expect(gallery_page.locator("#more code")).to_be_visible()
    await gallery_page.wait_for_timeout(600)
    assert "prefix" not in gallery_page.url


async def test_another_index_is_chosen(gallery_page: Page) -> None:
    await settled(gallery_page)
    await gallery_page.get_by_role("combobox", name="Index").select_option("some_birds")
    await expect(gallery_page.locator("#summary")).to_have_text("24 images")
    await expect(gallery_page.locator("footer")).to_contain_text("gs://birdwalk/birds/")
    await search(gallery_page, "castle")
    assert {name.split("/")[0] for name in await names(gallery_page)} == {"birds"}


async def test_a_gallery_that_was_away_is_shown_again_when_it_is_back(gallery_page: Page) -> None:
    await settled(gallery_page)
    await gallery_page.route("**/api/**", lambda route: route.abort())
    await gallery_page.get_by_role("link", name="Next").click()
    alert = gallery_page.get_by_role("alert")
    await expect(alert).to_contain_text("The gallery does not answer. Is it still running?")
    await expect(alert).to_contain_text("This page tries again by itself.")
    await gallery_page.unroute("**/api/**")
    await expect(gallery_page.locator("a.tile")).to_have_count(65)
    await expect(alert).to_be_empty()


async def test_a_failure_that_lasts_is_said_once_and_leaves_the_focus_where_it_is(
    gallery_page: Page,
) -> None:
    await settled(gallery_page)
    tries: asyncio.Queue[str] = asyncio.Queue()

    async def fail(route: Route) -> None:
        await route.abort()
        tries.put_nowait(route.request.url)

    await gallery_page.route("**/api/images*", fail)
    await gallery_page.get_by_role("link", name="Next").click()
    again = gallery_page.get_by_role("button", name="Try again")
    await again.focus()
    changes = await gallery_page.evaluate_handle(COUNT_CHANGES, "#notice")
    for _ in range(3):  # the first that failed, and two by itself
        await tries.get()
    await expect(gallery_page.get_by_role("heading", level=1)).to_have_text(AWAY)
    assert await changes.evaluate("changes => changes.length") == 0
    await expect(again).to_be_focused()
    await gallery_page.unroute("**/api/images*")
    await gallery_page.keyboard.press("Enter")
    await expect(gallery_page.locator("a.tile")).to_have_count(65)
    await expect(gallery_page.get_by_role("heading", level=1)).to_be_focused()
