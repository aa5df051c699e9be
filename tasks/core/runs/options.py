"""What a run is asked to do."""

from dataclasses import dataclass

from tasks.core.database.statements import quote_identifier
from tasks.core.errors import InvalidInput
from tasks.core.models import find_model
from tasks.core.pictures.preparing import PREPROCESSING, Crop
from tasks.core.spaces.registry import SpaceKind


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What a run is asked to do; the flow's parameters, checked.

    Raises:
        InvalidInput: a value cannot work, whatever the bucket holds.
    """

    bucket: str
    prefix: str = ""
    index: str = "image_embeddings"
    model: str = "multimodalembedding@001"
    dimension: int = 128
    crop: Crop = "none"
    limit: int | None = None
    query: str | None = None
    neighbours: int = 5
    requests_per_minute: int = 600
    batch_size: int | None = None
    plan_only: bool = False
    retry_refused: bool = False
    allow_empty: bool = False
    max_deletions: float = 0.1
    max_price: float = 100.0
    max_refusals: float = 0.1
    max_leftovers: float = 0.01

    def __post_init__(self) -> None:
        find_model(self.model, self.dimension)
        quote_identifier(self.index)
        if self.crop not in PREPROCESSING:
            raise InvalidInput(f"crop is {self.crop!r}; expected {' or '.join(PREPROCESSING)}.")
        if not self.bucket:
            raise InvalidInput("No bucket was named. Give the name of a Cloud Storage bucket.")
        for name in ("limit", "neighbours", "requests_per_minute", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} is {value}; expected 1 or more.")
        for name in ("max_deletions", "max_refusals", "max_leftovers"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected 0 to 1, a share.")
        if self.max_price < 0:
            raise InvalidInput(f"max_price is {self.max_price}; expected US dollars, 0 or more.")

    @property
    def preprocessing(self) -> str:
        """What is done to the images first; with model and dimension it makes the space."""
        return PREPROCESSING[self.crop]

    @property
    def space(self) -> SpaceKind:
        """The space that the run fills."""
        return SpaceKind(self.index, self.model, self.dimension, self.preprocessing)
