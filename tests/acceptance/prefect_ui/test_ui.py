"""What a person sees of a run in Prefect's interfaces, the present one and the one before."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from playwright.async_api import Locator, Page, expect
from prefect.client.orchestration import PrefectClient

from deployments.local.storage.samples import DEMO_QUERY
from tests.acceptance.browser import Screen, cells, difference, green_pixels
from tests.acceptance.conftest import SamplesRun
from tests.acceptance.readme_pictures import DIRECTORY, keep_for_readme
from tests.acceptance.recorded import artifact_of
from tests.support.waiting import until

FORM = "embed-images/embed-images"
CHOICES = {
    FORM: [["multimodalembedding@001"], ["128", "256", "512", "1408"], ["none", "subject"]],
    "find-similar/find-similar": [["l2", "cosine", "inner_product"]],
}
"""The dropdowns of two forms, with the default first."""


async def open_artifact(
    screen: Screen, client: PrefectClient, samples_run: SamplesRun, key: str
) -> None:
    """Open the page of an artifact of the samples' run."""
    artifact = await artifact_of(client, samples_run.finished.flow_run_id, key)
    await screen.open_artifact(artifact)


def _pair(row: list[str]) -> tuple[str, str]:
    name, value = row
    return name, value


async def test_the_printed_address_opens_the_run(
    samples_run: SamplesRun, pages: Mapping[str, Page]
) -> None:
    page = pages["v2"]
    await page.goto(samples_run.finished.fact("run"))
    await expect(page).to_have_title(re.compile("embed gs://birdwalk/ into image_embeddings"))
    await expect(page.get_by_text("Completed", exact=True).first).to_be_visible()


async def test_the_run_page_shows_its_task_runs_by_name_and_draws_them(
    samples_run: SamplesRun, screen: Screen
) -> None:
    page = await screen.open(f"runs/flow-run/{samples_run.finished.flow_run_id}", shows="Task Runs")
    await page.get_by_text("Task Runs", exact=True).click()
    for name in (
        "list gs://birdwalk/",
        "create table of image_embeddings, 128 dimensions",
        "plan sync of 165 images",
        "embed 0001-0060 of birdwalk/",
        "embed 0061-0120 of birdwalk/",
        "embed 0121-0165 of birdwalk/",
        "insert 60 vectors of 0001-0060",
        "insert 45 vectors of 0121-0165",
        "write CSV",
        "report outcomes",
        "build index",
        "verify 165 images",
        "publish 165 images as image_embeddings",
    ):
        await expect(page.get_by_text(name, exact=True).first).to_be_visible()
    graph = page.locator("canvas").first
    await expect(graph).to_be_visible()
    await until(lambda: drawn(graph))
    await screen.keep("run")
    if screen.interface == "v1":
        # V2 leaves the artifacts' icons in its graph black.
        await keep_for_readme(page, "prefect-run", page.get_by_text("Task Runs", exact=True))


async def drawn(graph: Locator) -> bool:
    """Return whether bars are drawn; it does so in frames of its own."""
    return green_pixels(await graph.screenshot()) > 2000


async def test_the_contact_sheet_is_painted_above_its_table(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "nearest-neighbours")
    picture = screen.page.locator("img[src^='data:image/png']")
    await expect(picture).to_be_visible()
    await expect(picture).to_have_js_property("complete", value=True)
    assert await picture.evaluate("image => image.naturalWidth") >= 800
    box = await picture.bounding_box()
    assert box is not None
    assert box["width"] > 500, "too small to see anything"
    sheet = Path(samples_run.finished.fact("picture"))
    assert difference(await picture.screenshot(), sheet) < 8, "not the sheet is painted"
    rows = await cells(screen.page.locator("table"))
    assert rows[0] == ["rank", "image", "L2 distance"]
    assert [(row[1], float(row[2])) for row in rows[1:]] == samples_run.finished.neighbours
    await expect(screen.page.get_by_role("heading", name=DEMO_QUERY)).to_be_visible()
    await screen.keep("nearest-neighbours")
    if screen.interface == "v2":
        third = screen.page.locator("table tr").nth(3)
        await keep_for_readme(screen.page, "prefect-artifact", third)
        shutil.copyfile(sheet, DIRECTORY / "nearest-neighbours.png")


async def test_the_csv_is_shown_as_a_grid(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "embeddings-csv")
    rows = await cells(screen.page.locator("table"))
    assert rows[0][:2] == ["image_id", "v0"]
    assert len(rows) == 11
    assert rows[1][0] == "balls/american-football.png"
    assert -1 < float(rows[1][1]) < 1
    await expect(screen.page.get_by_text('[{"image_id"')).to_be_hidden()
    await screen.keep("embeddings-csv")


async def test_the_summary_is_two_tables(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "run-summary")
    tables = screen.page.locator("table")
    counts = dict(map(_pair, await cells(tables.nth(0))))
    assert counts["images among them"] == counts["embedded"] == counts["calls"] == "165"
    assert counts["price on Vertex AI"] == "$0.0165"
    seconds = dict(map(_pair, await cells(tables.nth(1))))
    assert float(seconds["embed_batches"]) > 0


async def test_the_gate_is_shown_check_by_check(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "gate")
    rows = await cells(screen.page.locator("table"))
    assert len(rows) == 6
    assert all(row[1] == "yes" for row in rows[1:])


async def test_the_plan_counts_and_names_what_is_new(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "plan")
    table = screen.page.locator("table").first
    await expect(table.get_by_text("refused before")).to_be_visible()
    rows = {row[0]: row[1:] for row in await cells(table) if row}
    assert rows["new"] == ["165", "165", "embedded"]
    examples = screen.page.get_by_role("listitem").filter(has_text="new: ")
    await expect(examples).to_contain_text("balls/american-football.png")


async def test_progress_ends_at_the_whole(
    samples_run: SamplesRun, prefect_client: PrefectClient, screen: Screen
) -> None:
    await open_artifact(screen, prefect_client, samples_run, "progress")
    await expect(screen.page.get_by_text("100%")).to_be_visible()
    await expect(screen.page.get_by_text("165 of 165 images, 0 left").first).to_be_visible()


async def test_the_form_describes_every_parameter_and_refuses_a_wrong_value(
    prefect_client: PrefectClient, screen: Screen
) -> None:
    deployment = await prefect_client.read_deployment_by_name(FORM)
    schema = deployment.parameter_openapi_schema
    assert schema is not None
    page = await screen.open(f"deployments/deployment/{deployment.id}/run", shows="Parameters")
    for field in schema["properties"].values():
        await expect(page.get_by_text(field["description"], exact=True)).to_be_visible()

    neighbours = page.locator("input[type=number]").first
    await expect(neighbours).to_have_value("5")
    await neighbours.fill("0")
    await page.get_by_role("button", name="Submit").click()
    if screen.interface == "v2":
        message = await neighbours.evaluate("input => input.validationMessage")
        assert message == "Value must be greater than or equal to 1."
    else:
        refusal = page.get_by_text("0 is less than the minimum of 1").first
        await expect(refusal).to_be_visible()
    assert page.url.endswith("/run")
    await screen.keep("form")


async def test_the_forms_offer_models_dimensions_and_metrics_to_choose_from(
    prefect_client: PrefectClient, screen: Screen
) -> None:
    for name, choices in CHOICES.items():
        deployment = await prefect_client.read_deployment_by_name(name)
        path = f"deployments/deployment/{deployment.id}/run"
        page = await screen.open(path, shows=deployment.name)
        for offered in choices:
            options = await open_list(screen, shows=offered[0])
            await expect(options.first).to_be_visible()
            texts = await options.all_inner_texts()
            # V1 writes numbers as people do.
            assert [text.replace(",", "") for text in texts] == offered
            await page.keyboard.press("Escape")
            # The next list is found by what it shows: this one must be gone by then.
            await expect(options).to_have_count(0)


async def open_list(screen: Screen, shows: str) -> Locator:
    """Open the dropdown that shows a value, and return what it offers."""
    value = screen.page.get_by_text(shows, exact=True)
    if screen.interface == "v2":
        await value.first.click()
        return screen.page.get_by_role("option")
    # No click of Playwright's opens this list; the keyboard does.
    await screen.page.locator(".p-select-button").filter(has=value).locator("button").press("Space")
    return screen.page.locator(".p-select-option")
