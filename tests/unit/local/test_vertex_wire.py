from base64 import b64encode
from typing import Any

import grpc
import numpy as np
import pytest
from google.cloud.aiplatform_v1.types import PredictResponse
from google.cloud.aiplatform_v1.types.prediction_service import PredictRequest
from google.protobuf import json_format

from deployments.local.vertex.errors import PredictionFault
from deployments.local.vertex.instant import instant_response
from deployments.local.vertex.predictor import object_path
from deployments.local.vertex.wire import build_response, decode_request, parse_request

ENDPOINT = "projects/p/locations/l/publishers/google/models/multimodalembedding@001"
GCS_IMAGE = {"image": {"gcsUri": "gs://birdwalk/a b/plane.png"}}


def request(*instances: Any, endpoint: str = ENDPOINT, parameters: Any = None) -> Any:
    message = PredictRequest.pb(PredictRequest(endpoint=endpoint))
    for instance in instances:
        json_format.ParseDict(instance, message.instances.add())
    if parameters is not None:
        json_format.ParseDict(parameters, message.parameters)
    return decode_request(message.SerializeToString())


def fault_of(message: Any) -> PredictionFault:
    with pytest.raises(PredictionFault) as caught:
        parse_request(message)
    return caught.value


def test_a_request_for_picture_and_text_is_read() -> None:
    read = parse_request(request({**GCS_IMAGE, "text": "a plane"}, parameters={"dimension": 128}))
    assert (read.bucket, read.name, read.text) == ("birdwalk", "a b/plane.png", "a plane")
    assert (read.dimension, read.data) == (128, None)
    assert read.uri == "gs://birdwalk/a b/plane.png"


def test_a_picture_by_bytes_is_read_and_1408_is_the_default() -> None:
    read = parse_request(request({"image": {"bytesBase64Encoded": "aGk="}}))
    assert (read.data, read.uri, read.dimension) == (b"hi", None, 1408)


def test_object_names_with_newlines_and_question_marks_are_read() -> None:
    read = parse_request(request({"image": {"gcsUri": "gs://b/a\nb?c#d/../e"}}))
    assert read.name == "a\nb?c#d/../e"


def test_an_objects_address_keeps_its_name_whole() -> None:
    path = object_path("birdwalk", "a/../b c?d#e\n")
    assert path == "/storage/v1/b/birdwalk/o/a%2F..%2Fb%20c%3Fd%23e%0A?alt=media"


@pytest.mark.parametrize(
    ("instance", "begins"),
    [
        ({"image": {"gcsUri": "http://b/o"}}, "Image embedding failed"),
        ({"image": {"gcsUri": "gs://b"}}, "Image embedding failed"),
        ({"image": {"bytesBase64Encoded": "?"}}, "Image embedding failed"),
        ({"image": {}}, "Image embedding failed"),
        ({"text": "x" * 1025}, "Text field must be smaller than 1024 characters"),
        ({"text": ""}, "The instance is empty"),
        ({}, "The instance is empty"),
        ([], "The instance is empty"),
        ({**GCS_IMAGE, "video": {"gcsUri": "gs://b/o"}}, "The local model embeds no video"),
    ],
)
def test_a_fault_speaks_of_the_image_only_when_the_image_is_at_fault(
    instance: Any, begins: str
) -> None:
    fault = fault_of(request(instance))
    assert fault.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fault.message.startswith(begins)
    assert ("image" in fault.message.lower()) == begins.startswith("Image")


@pytest.mark.parametrize("dimension", [0, 100, 127.5, 1409, "128"])
def test_a_dimension_google_lacks_is_refused(dimension: float | str) -> None:
    fault = fault_of(request(GCS_IMAGE, parameters={"dimension": dimension}))
    assert fault.message.startswith("Invalid dimension")
    assert fault.message.endswith("expected one of 128, 256, 512, 1408.")


@pytest.mark.parametrize("count", [0, 2])
def test_a_request_has_one_instance(count: int) -> None:
    fault = fault_of(request(*[GCS_IMAGE] * count))
    assert fault.message == "The model supports only 1 instance per request."


@pytest.mark.parametrize(
    "endpoint", ["", "multimodalembedding@001", ENDPOINT + "2", ENDPOINT.replace("google", "x")]
)
def test_another_model_is_not_found(endpoint: str) -> None:
    fault = fault_of(request(GCS_IMAGE, endpoint=endpoint))
    assert fault.code is grpc.StatusCode.NOT_FOUND
    assert fault.message.startswith(f"Publisher Model `{endpoint}` was not found")


def test_bytes_that_are_no_request_are_refused() -> None:
    with pytest.raises(PredictionFault, match="could not be parsed"):
        decode_request(b"\xff\xff\xff")


@pytest.mark.parametrize("dimension", [128, 256, 512, 1408])
def test_the_client_librarys_own_types_read_the_response(dimension: int) -> None:
    image = np.linspace(-1, 1, dimension, dtype=np.float32)
    response = PredictResponse.deserialize(build_response(image, None))
    (prediction,) = response.predictions
    assert list(prediction) == ["imageEmbedding"]
    assert np.array_equal(np.array(prediction["imageEmbedding"], np.float32), image)
    assert response.deployed_model_id == "birdwalk-local"


def test_an_instant_answer_depends_on_address_bytes_or_text_alone() -> None:
    def vectors(instance: Any) -> dict[str, list[float]]:
        answer = instant_response(parse_request(request(instance)))
        return dict(PredictResponse.deserialize(answer).predictions[0])

    both = vectors({**GCS_IMAGE, "text": "plane"})
    assert set(both) == {"imageEmbedding", "textEmbedding"}
    assert np.isclose(np.linalg.norm(both["imageEmbedding"]), 1)
    assert vectors(GCS_IMAGE)["imageEmbedding"] == both["imageEmbedding"]
    assert vectors({"text": "plane"})["textEmbedding"] == both["textEmbedding"]
    by_bytes = np.array(
        [
            vectors({"image": {"bytesBase64Encoded": b64encode(bytes([n])).decode()}})[
                "imageEmbedding"
            ]
            for n in range(60)
        ]
        + [both["imageEmbedding"]]
    )
    cosines = np.abs(by_bytes @ by_bytes.T)[np.triu_indices(61, k=1)]
    # Directions drawn in eight dimensions: 0.29 on average, and no two the same.
    assert 0.2 < cosines.mean() < 0.35
    assert cosines.max() < 0.99
