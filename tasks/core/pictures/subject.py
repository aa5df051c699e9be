"""Find the one thing that a picture shows: a bird in the sky, a ship on the sea.

The background is what can be reached from the picture's frame. Each of the three channels of CIE
Lab is flooded from the frame, once from above and once from below; what stays an island, higher
or lower than all that surrounds it, stands out. This is the background prior of salient object
detection (Zhang et al., "Minimum Barrier Salient Object Detection at 80 FPS", ICCV 2015), with
the barrier taken by grey-scale reconstruction (Vincent, IEEE Trans. Image Processing 2(2), 1993).
A sky's gradient, its clouds, a horizon and a line of trees reach the frame, and do not count.

Changing what this module finds is another embedding space: raise the number in
`tasks.core.pictures.preparing.PREPROCESSING`.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# One picture a thread: more threads for each of them only wait for one another.
cv2.setNumThreads(1)

OVERVIEW_SIDE = 256
"""Pixels of the longer side of the picture that is searched."""

SMALLEST_SIDE = 16
"""An overview with a shorter side than this is a strip, and not searched."""

SMOOTHING: Final = 0.7
"""Pixels of the overview: takes JPEG's artefacts away, and leaves thin contours."""

STANDS_OUT = 40
"""Levels, of 256 in a channel, between a subject and all around it: clouds have up to 30."""

NOISE = 14
"""Levels that a camera's noise and JPEG's artefacts make."""

FAINTEST: Final = 0.18
"""Of the peak: what belongs to a subject whose peak is elsewhere, such as the thin neck of a
swan."""

OTHER_SUBJECT: Final = 0.1
"""Of the largest subject's mass: a second one from this size on is in the picture too."""

EDGE: Final = 0.3
"""Of the peak: a contour this sharp that touches the subject is the subject's."""

CALM: Final = 0.35
"""Of the peak: what has fainter contours than this is background around the subject."""

SIDES = 3
"""Of the picture's sides that the background around a subject must reach. The body of a cat that
sits on the lower side surrounds its eyes, but is no background."""

SURROUNDED: Final = 0.75
"""Of the subject's surroundings that must be such background."""

HELD: Final = 0.55
"""Of the picture's frame that such background must hold: a face that three sides cut holds less."""

MARGIN: Final = 0.2
"""Of the subject's longer side, to be left on each side of it."""

WHOLE: Final = 0.7
"""Of the picture: a crop that keeps as much as this is not worth it."""

SMALLEST_CROP: Final = 0.1
"""Of the picture's shorter side, that a crop has at least."""

SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Box:
    """Part of a picture; left and right in shares of its width, top and bottom of its height."""

    left: float
    top: float
    right: float
    bottom: float

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in a picture of that size, never empty."""
        left, top = min(int(self.left * width), width - 1), min(int(self.top * height), height - 1)
        right, bottom = round(self.right * width), round(self.bottom * height)
        return left, top, max(right, left + 1), max(bottom, top + 1)


def find_subject(overview: Pixels) -> Box | None:
    """Return where a picture's subject is, to its outermost contour; None where none stands out.

    That is so where nothing differs from its surroundings, where what does is not surrounded by
    background (a texture, a close-up), and in a strip. Several subjects are in one box.

    Args:
        overview: RGB, uint8[height, width, 3], at most OVERVIEW_SIDE a side.
    """
    height, width = overview.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        return None
    lab = cv2.GaussianBlur(cv2.cvtColor(overview, cv2.COLOR_RGB2Lab), (0, 0), SMOOTHING)
    islands = _islands(np.asarray(lab, np.uint8))
    peak = int(islands.max())
    if peak < STANDS_OUT:
        return None
    contours = cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, SQUARE).max(axis=2)
    shape = (islands >= max(NOISE, FAINTEST * peak)) | (contours >= max(NOISE, EDGE * peak))
    left, top, right, bottom = _enclose(shape, islands)
    if not _is_surrounded((left, top, right, bottom), contours < CALM * peak):
        return None
    return Box(left / width, top / height, right / width, bottom / height)


def _islands(lab: Pixels) -> Pixels:
    """Return by how much each pixel differs from all that leads to the frame, in levels."""
    levels = np.concatenate([lab, 255 - lab], axis=2)
    flood = np.zeros_like(levels)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        flood[line] = levels[line]
    while True:
        before = flood.copy()
        # A look at whether it has come to rest costs as much as a step.
        for _ in range(16):
            np.minimum(cv2.dilate(flood, SQUARE), levels, out=flood)
        if np.array_equal(before, flood):
            return np.asarray((levels - flood).max(axis=2), np.uint8)


def _enclose(shape: NDArray[np.bool_], islands: Pixels) -> tuple[int, int, int, int]:
    """Return the pixels from left and top to right and bottom around all that stands out."""
    closed = cv2.morphologyEx(shape.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    mass = np.bincount(labels.ravel(), islands.ravel(), count)
    highest = np.zeros(count, np.uint8)
    np.maximum.at(highest, labels.ravel().astype(np.intp), islands.ravel())
    mass[0] = 0
    mass[highest < islands.max() / 2] = 0
    kept = boxes[mass >= OTHER_SUBJECT * mass.max()]
    left, top, width, height = kept[:, 0], kept[:, 1], kept[:, 2], kept[:, 3]
    return (
        int(left.min()),
        int(top.min()),
        int((left + width).max()),
        int((top + height).max()),
    )


def _is_surrounded(box: tuple[int, int, int, int], calm: NDArray[np.bool_]) -> bool:
    """Tell whether what lies around a box is the picture's background."""
    count, labels = cv2.connectedComponents(calm.astype(np.uint8), connectivity=4)
    zones = np.asarray(labels, np.intp)
    lines = (zones[0], zones[-1], zones[:, 0], zones[:, -1])
    sides = np.bincount(np.concatenate([np.unique(line) for line in lines]), minlength=count)
    frame = np.bincount(np.concatenate(lines), minlength=count) / sum(map(len, lines))
    reaches = sides >= SIDES
    reaches[0] = False  # contours
    around = _ring(zones, box)
    held = frame[np.unique(around[reaches[around]])].sum()
    return bool(reaches[around].mean() >= SURROUNDED and held >= HELD)


def _ring(pixels: NDArray[np.intp], box: tuple[int, int, int, int]) -> NDArray[np.intp]:
    """Return the pixels that lie a few pixels outside a box."""
    height, width = pixels.shape
    left, top = max(0, box[0] - 3), max(0, box[1] - 3)
    right, bottom = min(width, box[2] + 3) - 1, min(height, box[3] + 3) - 1
    lines = (
        pixels[top, left : right + 1],
        pixels[bottom, left : right + 1],
        pixels[top : bottom + 1, left],
        pixels[top : bottom + 1, right],
    )
    return np.concatenate(lines)


def frame_subject(subject: Box, width: int, height: int) -> Box | None:
    """Return what to keep of a picture so that its subject is seen with some margin.

    It is as square as the picture allows, since models look at squares; None where nearly all of
    the picture would be kept.

    Args:
        subject: as `find_subject` returns it.
        width: of the picture, in pixels.
        height: of the picture.
    """
    longer = max((subject.right - subject.left) * width, (subject.bottom - subject.top) * height)
    side = max((1 + 2 * MARGIN) * longer, SMALLEST_CROP * min(width, height))
    if min(side, width) * min(side, height) > WHOLE * width * height:
        return None
    left, right = _place(subject.left, subject.right, side / width)
    top, bottom = _place(subject.top, subject.bottom, side / height)
    return Box(left, top, right, bottom)


def _place(first: float, last: float, share: float) -> tuple[float, float]:
    """Return where a share of a side lies that has a part of it in its middle, or nearly so."""
    share = min(share, 1.0)
    start = min(max((first + last - share) / 2, 0.0), 1.0 - share)
    return start, start + share
