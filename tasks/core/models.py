"""The embedding models birdwalk knows: what they read, what they return, what they cost.

Figures are Google's, from its multimodal embeddings and pricing pages as of 2026-11.
"""

from dataclasses import dataclass

from tasks.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model's limits. `price` is US dollars an image; `max_bytes` bounds one image."""

    name: str
    dimensions: tuple[int, ...]
    formats: dict[str, str]
    max_bytes: int
    price: float


MULTIMODAL_EMBEDDING = EmbeddingModel(
    name="multimodalembedding@001",
    dimensions=(128, 256, 512, 1408),
    formats={
        ".bmp": "image/bmp",
        ".gif": "image/gif",
        ".jpeg": "image/jpeg",
        ".jpg": "image/jpeg",
        ".png": "image/png",
    },
    max_bytes=20_000_000,
    price=0.0001,
)

MODELS = {model.name: model for model in (MULTIMODAL_EMBEDDING,)}


def find_model(name: str, dimension: int) -> EmbeddingModel:
    """Return the model of that name, sure to return vectors of `dimension` numbers.

    Raises:
        InvalidInput: the model is not known, or cannot return that many numbers.
    """
    model = MODELS.get(name)
    if model is None:
        raise InvalidInput(f"Model {name!r} is not known. Use one of: {', '.join(MODELS)}.")
    if dimension not in model.dimensions:
        allowed = ", ".join(map(str, model.dimensions))
        raise InvalidInput(
            f"Model {name} has no {dimension}-dimensional vectors. Use a dimension of {allowed}."
        )
    return model
