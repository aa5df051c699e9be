import pytest

from tasks.core.errors import InvalidInput
from tasks.core.models import MODELS, MULTIMODAL_EMBEDDING, find_model

LONGEST_VECTOR_FOR_HNSW = 2000
"""pgvector's limit for the type vector."""


@pytest.mark.parametrize("dimension", [128, 256, 512, 1408])
def test_each_dimension_google_offers_is_known(dimension: int) -> None:
    assert find_model("multimodalembedding@001", dimension) is MULTIMODAL_EMBEDDING


@pytest.mark.parametrize("dimension", [0, -128, 127, 768, 1409])
def test_another_dimension_is_refused_with_those_that_work(dimension: int) -> None:
    with pytest.raises(InvalidInput, match=rf"no {dimension}-dim.*128, 256, 512, 1408"):
        find_model("multimodalembedding@001", dimension)


@pytest.mark.parametrize("name", ["", "multimodalembedding", "multimodalembedding@002"])
def test_an_unknown_model_is_refused_with_those_that_work(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{name!r} is not known.*multimodalembedding@001"):
        find_model(name, 128)


def test_every_vector_fits_an_hnsw_index() -> None:
    for model in MODELS.values():
        assert max(model.dimensions) <= LONGEST_VECTOR_FOR_HNSW


def test_extensions_are_as_a_names_lower_cased_suffix() -> None:
    for model in MODELS.values():
        assert all(extension == f".{extension[1:].lower()}" for extension in model.formats)
