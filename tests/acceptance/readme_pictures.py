"""Draw the README's pictures anew: python -m tests.acceptance.readme_pictures.

The browser tests leave those of Prefect and the gallery, and the contact sheet that the demo
writes too; the benchmark of cropping draws its own. Takes two minutes.
"""

import io
import shutil
import subprocess
import sys

from PIL import Image
from playwright.async_api import Locator, Page

from tests.acceptance.browser import SCREEN_WIDTH, SCREENSHOTS
from tests.acceptance.programs import ROOT

DIRECTORY = SCREENSHOTS / "readme"
DOCS = ROOT / "docs"
COLOURS = 128

TESTS = (
    "prefect_ui/test_ui.py::test_the_run_page_shows_its_task_runs_by_name_and_draws_them[v1]",
    "prefect_ui/test_ui.py::test_the_contact_sheet_is_painted_above_its_table[v2]",
    "gallery/test_asking.py::test_a_picture_of_ones_own_is_asked_with[drop]",
)
"""What leaves pictures there."""

LOWER_EDGE = """(last, space) => {
    const seen = [...document.querySelectorAll("img, button, input")];
    const boxes = seen
        .filter((one) => one.checkVisibility())
        .map((one) => one.getBoundingClientRect());
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(texts.currentNode);
        boxes.push(...range.getClientRects());
    }
    let edge = last.getBoundingClientRect().bottom + space;
    for (let cut; (cut = boxes.find((box) => box.top < edge && edge < box.bottom)); )
        edge = cut.bottom + space;
    return Math.ceil(edge);
}"""
"""Where a page can be cut below an element, and through no text, picture or button."""


async def keep_for_readme(page: Page, name: str, last: Locator) -> None:
    """Leave a picture of the README: a page's upper part, down to an element, in few colours."""
    await page.evaluate("scrollTo(0, 0)")
    height = await last.evaluate(f"last => ({LOWER_EDGE})(last, 8)")
    seen = await page.screenshot(
        clip={"x": 0, "y": 0, "width": SCREEN_WIDTH, "height": height}, full_page=True
    )
    picture = Image.open(io.BytesIO(seen)).convert("RGB").quantize(COLOURS)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    picture.save(DIRECTORY / f"{name}.png", optimize=True)


def main() -> int:
    """Run what draws them, and copy them into docs/."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    tests = [f"tests/acceptance/{test}" for test in TESTS]
    subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, check=True)
    for picture in sorted(DIRECTORY.iterdir()):
        shutil.copyfile(picture, DOCS / picture.name)
        sys.stdout.write(f"{DOCS / picture.name}: {picture.stat().st_size:,} bytes\n")
    subprocess.run([sys.executable, "-m", "tests.bench.crop_sheet"], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
