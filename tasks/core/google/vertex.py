"""Ask Vertex AI for the embedding of one image or text.

The client is Google's own; only its address differs between Google and the local stack. Answers
that are not a vector become one of the EmbeddingErrors, by what can be done about them.

Google's package takes half a second to import: it is imported when something is to be embedded.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import google.auth
import grpc.aio
import numpy as np
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.protobuf.struct_pb2 import Struct, Value
from google.rpc.error_details_pb2 import RetryInfo

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
from tasks.core.settings import Settings
from tasks.core.types import Vector

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient, PredictResponse

ABOUT_AN_IMAGE = re.compile(r"\bimages?\b|gs://|storage url", re.IGNORECASE)
RESOURCE_NAME = re.compile(r"(?<![\w:/.-])(//[\w.]+/)?projects/\S+")
"""A project may be called image-search, which says nothing about an image."""

# A dead refresh token, which grpc's plugin for credentials reports as UNAVAILABLE.
DEAD_CREDENTIALS = re.compile(
    r"metadata from plugin.*(invalid_(grant|client|rapt)|reauth)", re.IGNORECASE | re.DOTALL
)

TRANSIENT = (
    exceptions.ServiceUnavailable,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.GatewayTimeout,
    exceptions.Unknown,
    exceptions.Aborted,
    exceptions.Cancelled,
)

SYSTEMIC = (exceptions.Forbidden, exceptions.Unauthorized, exceptions.NotFound)

CLIENT_PACKAGE = "google.cloud.aiplatform_v1"

# A ListValue of doubles on the wire: per number a 3-byte header and 8 little-endian bytes. Reading
# it as such costs 40 us for 1408 numbers, against 1.6 ms through proto-plus.
NUMBER = np.dtype([("header", "V3"), ("number", "<f8")])
NUMBER_HEADER = np.void(b"\x0a\x09\x11")


class VertexEmbedder:
    """Embeds one image or text a call, in one embedding space. Use `open_embedder` to get one.

    Args:
        make_client: makes Google's client; called once, in the running event loop.
        endpoint: the model, as Google names it.
        dimension: numbers of a vector.
        timeout_seconds: of a call.
    """

    def __init__(
        self,
        make_client: Callable[[], "PredictionServiceAsyncClient"],
        endpoint: str,
        dimension: int,
        timeout_seconds: float,
    ) -> None:
        self._make_client = make_client
        self._client: PredictionServiceAsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._endpoint = endpoint
        self._dimension = dimension
        self._timeout = timeout_seconds
        self._parameters = Value()
        self._parameters.struct_value.fields["dimension"].number_value = dimension

    async def connect(self) -> "PredictionServiceAsyncClient":
        """Return the client; the first time, import Google's package and make it."""
        async with self._connecting:
            if self._client is None:
                # In a thread: the event loop has other work meanwhile.
                await asyncio.to_thread(import_module, CLIENT_PACKAGE)
                self._client = self._make_client()
            return self._client

    async def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            await self._client.transport.close()

    async def embed_uri(self, uri: str) -> Vector:
        """Return the unit vector of the image at a gs:// address; the model reads it itself.

        Raises:
            EmbeddingError: one of its kinds, by what can be done about it.
        """
        instance = Value()
        instance.struct_value.fields["image"].struct_value.fields["gcsUri"].string_value = uri
        return await self._predict(instance, "imageEmbedding")

    async def embed_bytes(self, data: bytes) -> Vector:
        """Return the unit vector of an encoded image (BMP, GIF, JPEG, PNG) sent with the call.

        Raises:
            EmbeddingError: one of its kinds.
        """
        instance = Value()
        encoded = base64.b64encode(data).decode()
        image = instance.struct_value.fields["image"].struct_value
        image.fields["bytesBase64Encoded"].string_value = encoded
        return await self._predict(instance, "imageEmbedding")

    async def embed_text(self, text: str) -> Vector:
        """Return the unit vector of an English text, in the same space as the images'.

        Raises:
            EmbeddingError: one of its kinds.
        """
        instance = Value(struct_value=Struct(fields={"text": Value(string_value=text)}))
        return await self._predict(instance, "textEmbedding")

    async def _predict(self, instance: Value, modality: str) -> Vector:
        client = self._client or await self.connect()
        try:
            response = await client.predict(
                endpoint=self._endpoint,
                instances=[instance],
                parameters=self._parameters,
                timeout=self._timeout,
            )
        except exceptions.GoogleAPICallError as error:
            raise translate_error(error) from error
        except GoogleAuthError as error:
            raise credentials_failure(error) from error
        return parse_vector(response, modality, self._dimension)


@asynccontextmanager
async def open_embedder(
    settings: Settings, model: str, dimension: int
) -> AsyncIterator[VertexEmbedder]:
    """Yield an embedder for a model; must run inside the event loop that will use it.

    Raises:
        SystemicFailure: there are no credentials, or no project is known.
    """
    project, make_client = await _find_service(settings)
    endpoint = f"projects/{project}/locations/{settings.location}/publishers/google/models/{model}"
    timeout = settings.request_timeout_seconds
    embedder = VertexEmbedder(make_client, endpoint, dimension, timeout)
    try:
        yield embedder
    finally:
        await embedder.close()


async def _find_service(
    settings: Settings,
) -> tuple[str, Callable[[], "PredictionServiceAsyncClient"]]:
    """Return the project, and what makes the client; no call is made."""
    address = settings.vertex_endpoint or f"{settings.location}-aiplatform.googleapis.com"
    if address.startswith("http://"):
        host = urlsplit(address).netloc
        return settings.project or "birdwalk-local", lambda: _client_without_tls(host)
    credentials, default_project = await find_credentials()
    project = settings.project or default_project
    if not project:
        raise SystemicFailure(
            "No Google Cloud project is known. Set BIRDWALK_PROJECT, or use credentials that"
            " name one."
        )
    return project, lambda: _client_with_tls(credentials, address.removeprefix("https://"))


def _client_with_tls(credentials: Any, host: str) -> "PredictionServiceAsyncClient":
    from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient

    return PredictionServiceAsyncClient(
        credentials=credentials, client_options={"api_endpoint": host}
    )


def _client_without_tls(host: str) -> "PredictionServiceAsyncClient":
    from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient

    transport = PredictionServiceAsyncClient.get_transport_class("grpc_asyncio")
    return PredictionServiceAsyncClient(
        transport=transport(channel=grpc.aio.insecure_channel(host))
    )


def parse_vector(response: "PredictResponse", modality: str, dimension: int) -> Vector:
    """Return the response's vector of a modality, normalised, shape (dimension,), float32.

    Google promises no norm for multimodalembedding@001, so it is made 1 here.

    Raises:
        ImageRefused: the numbers have no direction (zero, NaN or infinite).
        SystemicFailure: the response has another form or dimension.
    """
    predictions = type(response).pb(response).predictions
    fields = predictions[0].struct_value.fields if len(predictions) == 1 else {}
    if modality not in fields:
        raise SystemicFailure(
            f"The model's answer has no {modality}: it is not a multimodal embedding model, or its"
            " answer changed form. Check the model's name."
        )
    numbers = fields[modality].list_value
    if len(numbers.values) != dimension:
        raise SystemicFailure(
            f"The model returned {len(numbers.values)} numbers where {dimension} were asked for."
        )
    wire = numbers.SerializeToString()
    cells = np.frombuffer(wire, NUMBER, len(wire) // NUMBER.itemsize)
    if len(wire) != NUMBER.itemsize * dimension or np.any(cells["header"] != NUMBER_HEADER):
        raise SystemicFailure("The model's answer holds something else than numbers.")
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(cells["number"]))
    if not np.isfinite(norm) or norm == 0:
        raise ImageRefused(f"The model's vector for this image has norm {norm}: no direction.")
    return np.asarray(cells["number"] / norm, dtype=np.float32)


def translate_error(error: exceptions.GoogleAPICallError) -> EmbeddingError:
    """Return the EmbeddingError that says what can be done about Google's answer."""
    message = str(error.message or error)
    if ABOUT_AN_IMAGE.search(RESOURCE_NAME.sub("", message)):
        match error:
            case exceptions.InvalidArgument():
                return ImageRefused(message)
            case exceptions.NotFound():
                return ImageGone(message)
    match error:
        case exceptions.ResourceExhausted() | exceptions.TooManyRequests():
            return QuotaExceeded(message, _retry_after(error))
        case exceptions.Unauthenticated() if "deadline" in message.lower():
            return ImageReadDeadline(message)
    if isinstance(error, SYSTEMIC) or DEAD_CREDENTIALS.search(message):
        return _systemic(error, message)
    kind = TransientFailure if isinstance(error, TRANSIENT) else UnexplainedFailure
    return kind(f"{type(error).__name__}: {message}")


def _systemic(error: exceptions.GoogleAPICallError, message: str) -> SystemicFailure:
    stopped = "Every image would get this answer, so the run stopped."
    return SystemicFailure(f"{message} {stopped} {_remedy(error)}")


def _remedy(error: exceptions.GoogleAPICallError) -> str:
    match error:
        case exceptions.Forbidden():
            return (
                "Grant the caller roles/aiplatform.user, and the project's Vertex AI service agent"
                " roles/storage.objectViewer on the bucket; check that the model exists in the"
                " location."
            )
        case exceptions.Unauthorized() | exceptions.ServiceUnavailable():
            return (
                "Renew the credentials: gcloud auth application-default login, or the worker's"
                " service account."
            )
        case _:
            return "Check the model's name and location; it may have been retired."


def _retry_after(error: exceptions.GoogleAPICallError) -> float | None:
    for detail in error.details:
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.ToTimedelta().total_seconds())
    return None


SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


async def find_credentials() -> tuple[Any, str | None]:
    """Return the credentials of this machine or user, and the project that they name.

    Raises:
        SystemicFailure: there are none.
    """
    try:
        # It blocks: outside of Google Cloud it waits some seconds for a metadata server.
        return await asyncio.to_thread(google.auth.default, scopes=SCOPES)
    except GoogleAuthError as error:
        raise credentials_failure(error) from error


def credentials_failure(error: GoogleAuthError) -> SystemicFailure:
    """Return the failure that says what to do about missing or dead credentials."""
    return SystemicFailure(
        f"No usable Google credentials: {error} Run gcloud auth application-default login, or"
        " give the worker a service account."
    )
