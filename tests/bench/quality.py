"""Do the nearest images show the same kind of thing, and does cropping to the subject help?

Exact and through the HNSW index, which a bucket this small would not get by itself. The samples
are drawings that fill their pictures; the scenes are small planes and birds on six skies, in
which the whole picture is mostly sky.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployments.local.demo import REQUESTS_PER_MINUTE
from deployments.local.vertex.options import ModelServerOptions
from tasks.core.database.connections import Database, open_database
from tasks.core.pictures.preparing import Crop
from tasks.core.spaces.hnsw import create_hnsw
from tasks.core.spaces.nearest import NearContent, nearest, nearest_exact
from tasks.core.spaces.registry import require_shown_space
from tasks.core.types import Neighbour
from tests.bench.figures import Bar, Figure
from tests.bench.session import BUCKET, DIMENSION, SAMPLES, Session
from tests.support.buckets import LocalBucket, storage_client
from tests.support.scenes import draw_scenes

TITLE = "Quality: nearest images of the same kind, local model, 128 dimensions"
NEAREST = 5
BUILD_MEMORY_MB = 64
SCENES = "scenes"
"""The bucket of the scenes."""

IMAGES = """
SELECT images.bucket, images.image_id, content_key, vectors.embedding
FROM {images} AS images JOIN {vectors} AS vectors USING (content_key)
"""

HARMLESS = Bar("difference", "at least", -0.02)
BETTER = Bar("difference", "at least", 0.1)
NOTHING_LOST = Bar("difference", "at least", -0.005)


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """What is nearest to each image of a space, itself left out.

    Attributes:
        exact: every other image by name of the image, nearest first.
        index: the five that the HNSW index gives.
    """

    exact: dict[str, list[Neighbour]]
    index: dict[str, list[Neighbour]]


def kind_of(name: str) -> str:
    """Return what an image shows: its folder."""
    return name.split("/")[-2]


def drawing_of(name: str) -> str:
    """Return the drawing that a scene shows, as in "eagle" for "birds/eagle-sea-1.jpg"."""
    return name.rsplit("/", 1)[-1].rsplit("-", 2)[0]


def sky_of(name: str) -> str:
    """Return the sky of a scene."""
    return name.rsplit("-", 2)[1]


async def measure(session: Session) -> list[Figure]:
    """Embed samples and scenes by the flow, whole and cropped, and look at their neighbours."""
    await session.set_model(ModelServerOptions())
    samples, sample_crops = [
        await look_around(session, BUCKET, f"{SAMPLES}0/", crop) for crop in ("none", "subject")
    ]
    with scenes_bucket(session) as bucket:
        scenes, scene_crops = [
            await look_around(session, bucket, "", crop) for crop in ("none", "subject")
        ]
    return [
        *_through_the_index("samples", samples),
        *_compare("samples", samples, sample_crops, HARMLESS),
        *_through_the_index("scenes, cropped", scene_crops),
        *_compare("scenes", scenes, scene_crops, BETTER),
        Figure(
            "scenes, cropped: precision@5 among other drawings",
            _precision(_of_other_drawings(scene_crops.exact)),
            _precision(_of_other_drawings(scenes.exact)),
            "whole pictures",
            "of 1",
            BETTER,
        ),
        Figure(
            "scenes, cropped: nearest has the same sky",
            _same_sky(scene_crops.exact),
            _same_sky(scenes.exact),
            "whole pictures",
            "of 1",
            Bar("difference", "at most", -0.1),
        ),
    ]


@contextmanager
def scenes_bucket(session: Session) -> Iterator[str]:
    """Make a bucket of the scenes, and yield its name."""
    client = storage_client(session.addresses.storage_endpoint)
    client.create_bucket(SCENES)
    for scene in draw_scenes():
        LocalBucket(SCENES, client).put(scene.name, scene.data, "image/jpeg")
    yield SCENES
    client.close()


async def look_around(session: Session, bucket: str, prefix: str, crop: Crop) -> Neighbourhoods:
    """Sync a bucket's images by the flow, and return what is nearest to each of them."""
    async with session.fresh_index() as index:
        await session.run(
            *("flows.embed_images", "--bucket", bucket, "--prefix", prefix, "--index", index),
            *("--dimension", str(DIMENSION), "--crop", crop),
            *("--requests-per-minute", str(REQUESTS_PER_MINUTE)),
        )
        async with open_database(session.settings) as database:
            return await _read_neighbourhoods(database, index)


async def _read_neighbourhoods(database: Database, index: str) -> Neighbourhoods:
    async with database.connection() as connection:
        space = await require_shown_space(connection, index)
        rows = await connection.fetch(IMAGES.format(**space.tables))
        # No two of these pictures have the same bytes.
        images = {row["content_key"]: (row["bucket"], row["image_id"]) for row in rows}
        vectors = {row["content_key"]: row["embedding"].to_numpy() for row in rows}

        def others(key: str, found: list[NearContent]) -> list[Neighbour]:
            return [
                Neighbour(*images[one.content_key], one.distance)
                for one in found
                if one.content_key != key
            ]

        exact = {
            images[key][1]: others(key, await nearest_exact(connection, space, vector, len(rows)))
            for key, vector in vectors.items()
        }
        # The index that a larger table would have, and the planner is left no other way.
        await create_hnsw(connection, space, BUILD_MEMORY_MB)
        await connection.execute("SET enable_seqscan = off")
        through = {
            images[key][1]: others(key, await nearest(connection, space, vector, NEAREST + 1))[
                :NEAREST
            ]
            for key, vector in vectors.items()
        }
        await connection.execute("RESET enable_seqscan")
    return Neighbourhoods(exact, through)


def _compare(what: str, whole: Neighbourhoods, cropped: Neighbourhoods, bar: Bar) -> list[Figure]:
    against = "whole pictures"
    return [
        Figure(
            f"{what}, cropped: nearest is of the same kind",
            _nearest_share(cropped.exact),
            _nearest_share(whole.exact),
            against,
            "of 1",
            bar,
        ),
        Figure(
            f"{what}, cropped: precision@5",
            _precision(cropped.exact),
            _precision(whole.exact),
            against,
            "of 1",
            bar,
        ),
    ]


def _through_the_index(what: str, found: Neighbourhoods) -> list[Figure]:
    return [
        Figure(
            f"{what}: nearest is of the same kind, by HNSW",
            _nearest_share(found.index),
            _nearest_share(found.exact),
            "exact",
            "of 1",
            NOTHING_LOST,
        ),
        Figure(
            f"{what}: precision@5, by HNSW",
            _precision(found.index),
            _precision(found.exact),
            "exact",
            "of 1",
            NOTHING_LOST,
        ),
    ]


def _nearest_share(found: dict[str, list[Neighbour]]) -> float:
    """Return the share of images whose nearest one is of their own kind."""
    right = [kind_of(near[0].image_id) == kind_of(name) for name, near in found.items()]
    return sum(right) / len(right)


def _precision(found: dict[str, list[Neighbour]]) -> float:
    """Return the share of the five nearest that are of the image's own kind, on average."""
    right = [
        kind_of(neighbour.image_id) == kind_of(name)
        for name, near in found.items()
        for neighbour in near[:NEAREST]
    ]
    return sum(right) / len(right)


def _of_other_drawings(found: dict[str, list[Neighbour]]) -> dict[str, list[Neighbour]]:
    """Return the neighbours without those that show the same drawing, which are the easy ones."""
    return {
        name: [one for one in near if drawing_of(one.image_id) != drawing_of(name)]
        for name, near in found.items()
    }


def _same_sky(found: dict[str, list[Neighbour]]) -> float:
    right = [sky_of(near[0].image_id) == sky_of(name) for name, near in found.items()]
    return sum(right) / len(right)
