"""What the local Vertex AI server refuses, in Google's words where they are known.

A client tells a refusal (this image never works) from a systemic failure (no image works) by the
message: faults of an image speak of the image, all others never do. The last column tells whose
words they are: Google's ("yes": quoted from its documentation or a bug report; "form": what is
known is how such messages begin) or ours ("no").

| fault                    | code               | message begins with                       | real |
| ------------------------ | ------------------ | ----------------------------------------- | ---- |
| empty object             | INVALID_ARGUMENT   | Image embedding failed ... is empty       | form |
| not BMP, GIF, JPG or PNG | INVALID_ARGUMENT   | Image embedding failed ... format         | form |
| damaged, cut short       | INVALID_ARGUMENT   | Image embedding failed ... decoded        | form |
| over 20 MB               | INVALID_ARGUMENT   | Image embedding failed ... too large      | form |
| too many pixels          | INVALID_ARGUMENT   | Image embedding failed ... pixels         | form |
| bytes are not base64     | INVALID_ARGUMENT   | Image embedding failed ... base64         | form |
| gcsUri is not gs://...   | INVALID_ARGUMENT   | Image embedding failed ... gs://          | form |
| no such object or bucket | NOT_FOUND          | Image file not found in the storage URL   | yes  |
| gcsUri read timed out    | UNAUTHENTICATED    | Image embedding failed ... Deadline       | yes  |
| text over 1,024 chars    | INVALID_ARGUMENT   | Text field must be smaller than 1024      | yes  |
| neither picture nor text | INVALID_ARGUMENT   | The instance is empty                     | no   |
| not exactly one instance | INVALID_ARGUMENT   | The model supports only 1 instance        | yes  |
| dimension                | INVALID_ARGUMENT   | Invalid dimension                         | no   |
| video                    | INVALID_ARGUMENT   | The local model embeds no video           | no   |
| request does not parse   | INVALID_ARGUMENT   | The request could not be parsed           | no   |
| unknown model            | NOT_FOUND          | Publisher Model ... was not found         | yes  |
| denied                   | PERMISSION_DENIED  | Permission 'aiplatform.endpoints.predict' | yes  |
| over the quota           | RESOURCE_EXHAUSTED | Quota exceeded for aiplatform...          | yes  |
| storage does not answer  | UNAVAILABLE        | The storage server could not be read      | no   |
| server is ending         | UNAVAILABLE        | The service is shutting down.             | no   |
| drawn by the error rates | as drawn           | The service answered CODE                 | no   |
| fault of this server     | INTERNAL           | Internal error encountered.               | yes  |
"""

import grpc

StatusCode = grpc.StatusCode


class PredictionFault(Exception):
    """An answer other than a vector.

    Attributes:
        code: the grpc.StatusCode to answer with.
        message: the text to answer with.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_image(reason: str) -> PredictionFault:
    """Return the refusal of an image; the reason is a sentence that speaks of the image."""
    return PredictionFault(
        StatusCode.INVALID_ARGUMENT, f"Image embedding failed with the following error: {reason}"
    )


def missing_image(uri: str) -> PredictionFault:
    """Return the answer for an object or bucket that is not there."""
    return PredictionFault(StatusCode.NOT_FOUND, f"Image file not found in the storage URL: {uri}")


def image_read_deadline() -> PredictionFault:
    """Return Google's answer when it times out reading gs:// (python-aiplatform issue 3858)."""
    return PredictionFault(
        StatusCode.UNAUTHENTICATED, "Image embedding failed with the following error: Deadline"
    )


def invalid_request(reason: str) -> PredictionFault:
    """Return the refusal of a request; the reason must not speak of an image."""
    return PredictionFault(StatusCode.INVALID_ARGUMENT, reason)


def unknown_model(endpoint: str) -> PredictionFault:
    """Return the answer for a model that does not exist, or no longer."""
    return PredictionFault(
        StatusCode.NOT_FOUND,
        f"Publisher Model `{endpoint}` was not found or your project does not have access to it. "
        "Please ensure you are using a valid model version.",
    )


def permission_denied(endpoint: str) -> PredictionFault:
    """Return the answer for a caller without the permission to predict."""
    return PredictionFault(
        StatusCode.PERMISSION_DENIED,
        "Permission 'aiplatform.endpoints.predict' denied on resource "
        f"'//aiplatform.googleapis.com/{endpoint}' (or it may not exist).",
    )


def quota_exceeded() -> PredictionFault:
    """Return the answer for a call over the quota."""
    return PredictionFault(
        StatusCode.RESOURCE_EXHAUSTED,
        "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model "
        "with base model: multimodalembedding. Please submit a quota increase request.",
    )


def storage_unavailable(reason: str) -> PredictionFault:
    """Return the answer when the storage server itself fails."""
    return PredictionFault(
        StatusCode.UNAVAILABLE, f"The storage server could not be read: {reason}"
    )


def shutting_down() -> PredictionFault:
    """Return the answer to a call that waits while the server ends."""
    return PredictionFault(StatusCode.UNAVAILABLE, "The service is shutting down.")


def drawn_error(code: grpc.StatusCode) -> PredictionFault:
    """Return an error that the options' error rates drew."""
    return PredictionFault(code, f"The service answered {code.name} as it was configured to.")


def internal_error() -> PredictionFault:
    """Return the answer for a fault of the server itself."""
    return PredictionFault(StatusCode.INTERNAL, "Internal error encountered.")
