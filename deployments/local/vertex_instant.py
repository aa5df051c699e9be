"""The instant mode's answers: no picture, no model, and little else."""

from deployments.local.model_text import hashed_direction
from deployments.local.vertex_wire import PredictionRequest, build_response


def instant_response(request: PredictionRequest) -> bytes:
    """Return a PredictResponse of unit vectors drawn from the hash of address, bytes or text."""
    dimension, text = request.dimension, request.text
    picture = request.uri if request.data is None else request.data
    return build_response(
        None if picture is None else hashed_direction(picture, dimension),
        None if text is None else hashed_direction(text, dimension),
    )
