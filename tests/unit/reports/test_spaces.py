from datetime import UTC, datetime

from tasks.core.reports.spaces import spaces_markdown, spaces_sentence
from tasks.core.spaces.drift import Losses, LostImages, SpaceReport
from tasks.core.spaces.registry import Space

SHOWN = Space(
    *(2, 1, "photos", "multimodalembedding@001", 256, "crop-subject-1", "active"),
    published_at=datetime(2026, 11, 23, 7, 5, tzinfo=UTC),
)
FILLING = Space(3, 1, "photos", "multimodalembedding@001", 128, "none", "loading")
LOST = Losses(LostImages(1_000, ("gs://b/a.png",)), LostImages(1, ("gs://b/b.png",)))
REPORTS = (SpaceReport(FILLING, 300, 200, 1_201, LOST), SpaceReport(SHOWN, 1_300, 1_201, 1_201))


def test_the_page_shows_a_row_a_space_and_what_each_is_made_of() -> None:
    page = spaces_markdown("photos", REPORTS)
    assert "| 3 | loading | 300 | 200 | 1,000 | 1 | never |" in page
    assert "| 2 | active | 1,300 | 1,201 | 0 | 0 | 2026-11-23 07:05 |" in page
    assert "- space 2: `multimodalembedding@001, 256 dimensions, crop-subject-1`" in page


def test_the_sentence_says_what_the_spaces_are_compared_with() -> None:
    said = "The spaces of photos against the 1,201 images that it shows; times are UTC."
    assert spaces_sentence("photos", REPORTS) == said
    assert "0 images" in spaces_sentence("none", ())


def test_losses_are_told_in_a_sentence() -> None:
    assert REPORTS[0].changes == (
        "Of the 1,201 images that readers saw, it has no vector of 1,000 (such as gs://b/a.png)"
        " and was refused 1 (such as gs://b/b.png)."
    )
    assert REPORTS[1].changes == "It has all of the 1,201 images that readers saw before."
    assert (REPORTS[0].incomplete, REPORTS[1].incomplete) == (1_000 / 1_201, 0)
