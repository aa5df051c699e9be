"""The bytes of PredictionService/Predict: read a request, write a response.

The client library's own types would do the same at ten times the time and 100 MB more memory, so
the request's three fields are described here, and the response is put together by hand. Both are
google/cloud/aiplatform/v1/prediction_service.proto:

    PredictRequest  { string endpoint = 1; repeated Value instances = 2; Value parameters = 3; }
    PredictResponse { repeated Value predictions = 1; string deployed_model_id = 2; }
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from deployments.local.vertex.errors import invalid_image, invalid_request, unknown_model

SERVICE = "google.cloud.aiplatform.v1.PredictionService"
MODEL = "multimodalembedding@001"
DIMENSIONS = (128, 256, 512, 1408)
DEFAULT_DIMENSION = 1408
MAXIMUM_TEXT_CHARACTERS = 1024

ENDPOINT = re.compile(rf"projects/[^/]+/locations/[^/]+/publishers/google/models/{MODEL}")
GCS_URI = re.compile(r"gs://([^/]+)/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """One valid request: a picture by address or by its bytes, a text, or picture and text.

    Attributes:
        bucket: of the picture's gs:// address.
        name: of the picture's object in the bucket.
        data: the picture's bytes.
        text: what to embed as text.
        dimension: of every embedding in the answer.
    """

    bucket: str | None
    name: str | None
    data: bytes | None
    text: str | None
    dimension: int

    @property
    def uri(self) -> str | None:
        """The picture's gs:// address."""
        return None if self.bucket is None else f"gs://{self.bucket}/{self.name}"


def _request_class() -> Any:
    # A pool of our own: the client library registers the same names in the default one.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="prediction_service.proto",
        package="google.cloud.aiplatform.v1",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    message = file.message_type.add(name="PredictRequest")
    text, value = (
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
    )
    one, many = (
        descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
    )
    type_name = ".google.protobuf.Value"
    message.field.add(name="endpoint", number=1, type=text, label=one)
    message.field.add(name="instances", number=2, type=value, label=many, type_name=type_name)
    message.field.add(name="parameters", number=3, type=value, label=one, type_name=type_name)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("google.cloud.aiplatform.v1.PredictRequest")
    )


PredictRequest = _request_class()


def decode_request(data: bytes) -> Any:
    """Return the PredictRequest message in the bytes.

    Raises:
        PredictionFault: the bytes are no such message.
    """
    try:
        return PredictRequest.FromString(data)
    except DecodeError:
        raise invalid_request("The request could not be parsed.") from None


def parse_request(request: Any) -> PredictionRequest:
    """Check a PredictRequest message and return what it asks for.

    Raises:
        PredictionFault: what Google answers to a request it does not accept.
    """
    if not ENDPOINT.fullmatch(request.endpoint):
        raise unknown_model(request.endpoint)
    if len(request.instances) != 1:
        raise invalid_request("The model supports only 1 instance per request.")
    fields = request.instances[0].struct_value.fields
    if "video" in fields:
        raise invalid_request("The local model embeds no video.")
    bucket = name = content = None
    if "image" in fields:
        bucket, name, content = _parse_image(fields["image"].struct_value.fields)
    text = fields["text"].string_value if "text" in fields else None
    if not text and "image" not in fields:
        raise invalid_request("The instance is empty: it has nothing to embed.")
    if text and len(text) > MAXIMUM_TEXT_CHARACTERS:
        raise invalid_request(
            f"Text field must be smaller than {MAXIMUM_TEXT_CHARACTERS} characters"
        )
    dimension = _parse_dimension(request.parameters.struct_value.fields)
    return PredictionRequest(bucket, name, content, text or None, dimension)


def _parse_image(fields: Any) -> tuple[str | None, str | None, bytes | None]:
    if ("gcsUri" in fields) == ("bytesBase64Encoded" in fields):
        raise invalid_image("The image must have one of gcsUri and bytesBase64Encoded.")
    if "gcsUri" not in fields:
        try:
            encoded = fields["bytesBase64Encoded"].string_value
            return None, None, base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise invalid_image("The image's bytesBase64Encoded is not base64.") from None
    uri = fields["gcsUri"].string_value
    match = GCS_URI.fullmatch(uri)
    if match is None:
        raise invalid_image(f"The image's gcsUri must look like gs://bucket/name, not {uri!r}.")
    return match[1], match[2], None


def _parse_dimension(fields: Any) -> int:
    if "dimension" not in fields:
        return DEFAULT_DIMENSION
    dimension: float = fields["dimension"].number_value
    if dimension not in DIMENSIONS:
        raise invalid_request(
            f"Invalid dimension {dimension:g}: expected one of {', '.join(map(str, DIMENSIONS))}."
        )
    return int(dimension)


# A Value{number_value} inside a ListValue: the list's tag, nine bytes long, the number's tag.
_NUMBER = np.dtype([("header", "V3"), ("value", "<f8")])
_NUMBER_HEADER = b"\x0a\x09\x11"
_TEMPLATES = {dimension: np.zeros(dimension, _NUMBER) for dimension in DIMENSIONS}
for _template in _TEMPLATES.values():
    _template["header"] = _NUMBER_HEADER

# The tag of a field that holds bytes: its number, and wire type 2.
_FIELD_1, _FIELD_2, _FIELD_5, _FIELD_6 = (bytes([number << 3 | 2]) for number in (1, 2, 5, 6))
_DEPLOYED_MODEL_ID = b"birdwalk-local"


def _field(tag: bytes, payload: bytes) -> bytes:
    """Return a field of bytes: tag, length as a varint, payload."""
    length, varint = len(payload), bytearray()
    while length >> 7:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return tag + varint + payload


def _list_entry(key: bytes, vector: NDArray[np.float32]) -> bytes:
    numbers = _TEMPLATES[len(vector)].copy()
    numbers["value"] = vector
    value = _field(_FIELD_6, numbers.tobytes())  # Value.list_value
    return _field(_FIELD_1, _field(_FIELD_1, key) + _field(_FIELD_2, value))  # Struct.fields


def build_response(image: NDArray[np.float32] | None, text: NDArray[np.float32] | None) -> bytes:
    """Return a PredictResponse with one prediction: the embeddings that are there."""
    entries = b""
    if image is not None:
        entries += _list_entry(b"imageEmbedding", image)
    if text is not None:
        entries += _list_entry(b"textEmbedding", text)
    prediction = _field(_FIELD_5, entries)  # Value.struct_value
    return _field(_FIELD_1, prediction) + _field(_FIELD_2, _DEPLOYED_MODEL_ID)
