import asyncio
import base64
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud import aiplatform_v1
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from tasks.core.errors import (
    EmbeddingError,
    ImageGone,
    ImageReadDeadline,
    ImageRefused,
    QuotaExceeded,
    SystemicFailure,
    TransientFailure,
    UnexplainedFailure,
)
from tasks.core.google.vertex import VertexEmbedder, parse_vector, translate_error
from tasks.core.types import Vector

QUOTA_TEXT = (
    "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model with"
    " base model: multimodalembedding. Please submit a quota increase request."
)
MODEL_NAME = (
    "projects/image-search/locations/us-central1/publishers/google/models/multimodalembedding@001"
)
PLUGIN = "Getting metadata from plugin failed with error: "


def answer(
    numbers: Sequence[Any], modality: str = "imageEmbedding"
) -> aiplatform_v1.PredictResponse:
    response = aiplatform_v1.PredictResponse()
    prediction = aiplatform_v1.PredictResponse.pb(response).predictions.add()
    prediction.struct_value.update({modality: list(numbers)})
    return cast("aiplatform_v1.PredictResponse", response)


def naive(response: aiplatform_v1.PredictResponse) -> Vector:
    """Parse as proto-plus does, number by number."""
    numbers = np.array(list(response.predictions[0]["imageEmbedding"]), dtype=np.float64)
    unit: Vector = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return unit


@pytest.mark.parametrize("dimension", [1, 128, 1408])
def test_a_vector_is_parsed_bit_for_bit_as_the_slow_way(dimension: int) -> None:
    response = answer(np.random.default_rng(dimension).normal(size=dimension).tolist())
    vector = parse_vector(response, "imageEmbedding", dimension)
    assert vector.dtype == np.float32
    assert vector.shape == (dimension,)
    assert vector.flags.c_contiguous
    assert vector.flags.writeable
    assert np.array_equal(vector, naive(response))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "numbers",
    [[0.0, 3, 0, -4], [-0.0, 1, 0, 0], [3, 4, 0, 0], [1e30, 1e30, 0, 0], [1e-30, 0, 0, 0]],
    ids=str,
)
def test_zeros_integers_and_far_off_norms_are_numbers_too(numbers: list[float]) -> None:
    response = answer(numbers)
    vector = parse_vector(response, "imageEmbedding", 4)
    assert np.array_equal(vector, naive(response))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf"), float("-inf"), 1e300], ids=str)
def test_numbers_without_a_direction_are_refused(bad: float) -> None:
    with pytest.raises(ImageRefused, match="no direction"):
        parse_vector(answer([0.0, bad, 0.0, bad]), "imageEmbedding", 4)


@pytest.mark.parametrize("numbers", [[], [1.0] * 127, [1.0] * 129], ids=len)
def test_another_dimension_is_systemic(numbers: list[float]) -> None:
    with pytest.raises(SystemicFailure, match=f"returned {len(numbers)} numbers where 128"):
        parse_vector(answer(numbers), "imageEmbedding", 128)


@pytest.mark.parametrize(
    "values",
    [["a", 1.0], [1.0, None], [1.0, True], [1.0, [2.0]], [1.0, "NaN"], [1.0, "7 bytes"]],
    ids=str,
)
def test_anything_else_than_numbers_is_systemic(values: list[Any]) -> None:
    with pytest.raises(SystemicFailure, match="something else than numbers"):
        parse_vector(answer(values), "imageEmbedding", 2)


def test_an_answer_of_another_form_is_systemic() -> None:
    two = answer([1.0])
    aiplatform_v1.PredictResponse.pb(two).predictions.add().struct_value.update({"x": 1})
    scalar = aiplatform_v1.PredictResponse()
    aiplatform_v1.PredictResponse.pb(scalar).predictions.add().number_value = 1.0
    not_a_list = aiplatform_v1.PredictResponse()
    prediction = aiplatform_v1.PredictResponse.pb(not_a_list).predictions.add()
    prediction.struct_value.update({"imageEmbedding": 1.0})
    text = answer([1.0], "textEmbedding")
    for response in (aiplatform_v1.PredictResponse(), two, scalar, text, not_a_list):
        with pytest.raises(SystemicFailure):
            parse_vector(response, "imageEmbedding", 1)
    assert parse_vector(text, "textEmbedding", 1) == [1.0]


KINDS: dict[str, type[EmbeddingError]] = {
    "GoogleAPICallError": UnexplainedFailure,
    "Redirection": UnexplainedFailure,
    "MovedPermanently": UnexplainedFailure,
    "NotModified": UnexplainedFailure,
    "TemporaryRedirect": UnexplainedFailure,
    "ResumeIncomplete": UnexplainedFailure,
    "ClientError": UnexplainedFailure,
    "BadRequest": UnexplainedFailure,
    "InvalidArgument": UnexplainedFailure,
    "FailedPrecondition": UnexplainedFailure,
    "OutOfRange": UnexplainedFailure,
    "Unauthorized": SystemicFailure,
    "Unauthenticated": SystemicFailure,
    "Forbidden": SystemicFailure,
    "PermissionDenied": SystemicFailure,
    "NotFound": SystemicFailure,
    "MethodNotAllowed": UnexplainedFailure,
    "Conflict": UnexplainedFailure,
    "AlreadyExists": UnexplainedFailure,
    "Aborted": TransientFailure,
    "LengthRequired": UnexplainedFailure,
    "PreconditionFailed": UnexplainedFailure,
    "RequestRangeNotSatisfiable": UnexplainedFailure,
    "TooManyRequests": QuotaExceeded,
    "ResourceExhausted": QuotaExceeded,
    "Cancelled": TransientFailure,
    "ServerError": UnexplainedFailure,
    "InternalServerError": TransientFailure,
    "Unknown": TransientFailure,
    "DataLoss": UnexplainedFailure,
    "MethodNotImplemented": UnexplainedFailure,
    "BadGateway": TransientFailure,
    "ServiceUnavailable": TransientFailure,
    "GatewayTimeout": TransientFailure,
    "DeadlineExceeded": TransientFailure,
}


def test_every_kind_of_answer_has_been_thought_of() -> None:
    known = {
        name
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type)
        and issubclass(kind, exceptions.GoogleAPICallError)
        and not issubclass(kind, exceptions.ResumableTransferError)
    }
    assert known == set(KINDS)


@pytest.mark.parametrize(("name", "expected"), KINDS.items())
def test_each_kind_of_answer_gets_its_treatment(name: str, expected: type[EmbeddingError]) -> None:
    error = translate_error(getattr(exceptions, name)("something happened"))
    assert type(error) is expected
    assert "something happened" in str(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ResourceExhausted(QUOTA_TEXT), QuotaExceeded),
        (
            exceptions.InvalidArgument(
                "Image embedding failed with the following error: INVALID_ARGUMENT"
            ),
            ImageRefused,
        ),
        (
            exceptions.InvalidArgument(
                "Multimodal embedding failed with the following error: cannot decode gs://b/a.jpg"
            ),
            ImageRefused,
        ),
        (exceptions.InvalidArgument("Unsupported images"), ImageRefused),
        (exceptions.InvalidArgument("The model supports only 1 instance."), UnexplainedFailure),
        (exceptions.InvalidArgument(f"Invalid resource name {MODEL_NAME}"), UnexplainedFailure),
        (exceptions.InvalidArgument("Pilgrimage is no dimension"), UnexplainedFailure),
        (exceptions.NotFound("Image file not found in the storage URL"), ImageGone),
        (exceptions.NotFound("gs://b/projects/plane.jpg is not there"), ImageGone),
        (exceptions.NotFound(f"Publisher Model `{MODEL_NAME}` was not found"), SystemicFailure),
        (
            exceptions.PermissionDenied(
                "Permission 'aiplatform.endpoints.predict' denied on resource"
                f" '//aiplatform.googleapis.com/{MODEL_NAME}' (or it may not exist)"
            ),
            SystemicFailure,
        ),
        (exceptions.PermissionDenied("cannot read image gs://b/a.jpg"), SystemicFailure),
        (
            exceptions.Unauthenticated(
                "401 Image embedding failed with the following error: Deadline"
            ),
            ImageReadDeadline,
        ),
        (exceptions.Unauthenticated("Request had invalid credentials"), SystemicFailure),
        (exceptions.ServiceUnavailable("Image backend is overloaded"), TransientFailure),
        (
            exceptions.ServiceUnavailable(
                PLUGIN + "Reauthentication is needed. Please run `gcloud auth application-default"
                " login` to reauthenticate."
            ),
            SystemicFailure,
        ),
        (
            exceptions.ServiceUnavailable(
                PLUGIN + "('invalid_grant: Bad Request', {'error': 'invalid_grant'})"
            ),
            SystemicFailure,
        ),
        (exceptions.ServiceUnavailable(PLUGIN + "connection timed out"), TransientFailure),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Exception) else value.__name__,
)
def test_googles_words_decide(
    error: exceptions.GoogleAPICallError, expected: type[EmbeddingError]
) -> None:
    assert type(translate_error(error)) is expected


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (exceptions.PermissionDenied("no"), "roles/aiplatform.user"),
        (exceptions.PermissionDenied("no"), "roles/storage.objectViewer"),
        (exceptions.Unauthenticated("no"), "gcloud auth application-default login"),
        (exceptions.ServiceUnavailable(PLUGIN + "invalid_grant"), "gcloud auth application-def"),
        (exceptions.NotFound("no"), "model's name and location"),
    ],
)
def test_a_systemic_failure_says_what_to_do(
    error: exceptions.GoogleAPICallError, remedy: str
) -> None:
    assert remedy in str(translate_error(error))


def test_a_429_carries_the_wait_that_the_server_asked_for() -> None:
    wait = RetryInfo(retry_delay=Duration(seconds=7, nanos=500_000_000))
    error = translate_error(
        exceptions.ResourceExhausted(QUOTA_TEXT, details=[ErrorInfo(reason="RATE"), wait])
    )
    assert isinstance(error, QuotaExceeded)
    assert error.retry_after == 7.5
    silent = translate_error(exceptions.ResourceExhausted(QUOTA_TEXT))
    assert isinstance(silent, QuotaExceeded)
    assert silent.retry_after is None


class Client:
    """Answers Predict with a response or an error, and remembers the request."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.request: dict[str, Any] = {}

    async def predict(self, **request: Any) -> Any:
        self.request = request
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def embedder(client: Client) -> VertexEmbedder:
    return VertexEmbedder(lambda: cast("Any", client), "the endpoint", 2, 30.0)


def instance(client: Client) -> dict[str, Any]:
    (value,) = client.request["instances"]
    assert isinstance(value, Value)
    return {
        name: field.string_value
        or {k: v.string_value for k, v in field.struct_value.fields.items()}
        for name, field in value.struct_value.fields.items()
    }


async def test_a_request_holds_one_instance_its_dimension_and_a_timeout() -> None:
    client = Client(answer([3.0, 4.0]))
    assert (await embedder(client).embed_uri("gs://b/a, b ✈.jpg")).tolist() == pytest.approx(
        [0.6, 0.8]
    )
    assert instance(client) == {"image": {"gcsUri": "gs://b/a, b ✈.jpg"}}
    assert client.request["parameters"].struct_value.fields["dimension"].number_value == 2
    assert client.request["endpoint"] == "the endpoint"
    assert client.request["timeout"] == 30.0


async def test_bytes_are_sent_in_base64() -> None:
    client, data = Client(answer([3.0, 4.0])), bytes(range(256))
    await embedder(client).embed_bytes(data)
    encoded = base64.b64encode(data).decode()
    assert instance(client) == {"image": {"bytesBase64Encoded": encoded}}


async def test_a_text_is_answered_by_the_texts_vector() -> None:
    client = Client(answer([3.0, 4.0], "textEmbedding"))
    await embedder(client).embed_text("a plane")
    assert instance(client) == {"text": "a plane"}


async def test_dead_credentials_are_systemic() -> None:
    with pytest.raises(SystemicFailure, match="gcloud auth application-default login"):
        await embedder(Client(RefreshError("expired"))).embed_uri("gs://b/a.jpg")


async def test_a_cancellation_stays_one() -> None:
    with pytest.raises(asyncio.CancelledError):
        await embedder(Client(asyncio.CancelledError())).embed_uri("gs://b/a.jpg")
