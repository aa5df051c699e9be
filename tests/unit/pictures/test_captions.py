"""A name is written under its tile whole where two lines hold it, and keeps both its ends."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.core.pictures.captions import fit_name

FONT, PEN = ImageFont.load_default(18), ImageDraw.Draw(Image.new("RGB", (1, 1)))
"""As large as the letters under a tile of 200 pixels."""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plane.jpg", ["plane.jpg"]),
        ("planes/airplane-mirrored.png", ["planes/", "airplane-mirrored.png"]),
        ("planes/airplane-arriving-turned.png", ["planes/airplane-arriving-", "turned.png"]),
        ("holidays in france 2026.jpg", ["holidays in france", "2026.jpg"]),
        ("x" * 30, ["x" * 22, "x" * 8]),
        ("", [""]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_name_is_shown_whole_where_two_lines_hold_it(name: str, shown: list[str]) -> None:
    assert fitted(name) == shown


@pytest.mark.parametrize("name", ["2026/" + "x" * 900 + "/IMG-flamingo.png", "W" * 1024], ids=len)
def test_a_longer_name_loses_its_middle(name: str) -> None:
    first, second = fitted(name)
    assert name.startswith(first)
    assert second.startswith("…")
    assert name.endswith(second[1:])
    assert min(len(first), len(second)) > 8
    assert max(PEN.textlength(line, FONT) for line in (first, second)) <= 200


def fitted(name: str) -> list[str]:
    return fit_name(PEN, name, FONT, 200)
