"""The answers of the instant mode: vectors drawn from a hash, without a picture or a model.

The vectors span few dimensions, as those of pictures do. Among vectors that point in all directions
alike, an approximate index would find fewer of the nearest neighbours than it does for pictures.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.local.model.text import hashed_direction
from deployments.local.vertex.wire import DIMENSIONS, PredictionRequest, build_response

SPANNED_DIMENSIONS = 8
_AXES = {
    dimension: np.stack(
        [hashed_direction(f"axis {number}", dimension) for number in range(SPANNED_DIMENSIONS)]
    )
    for dimension in DIMENSIONS
}


def instant_response(request: PredictionRequest) -> bytes:
    """Return a PredictResponse of unit vectors drawn from the hash of address, bytes or text."""
    dimension, text = request.dimension, request.text
    picture = request.uri if request.data is None else request.data
    return build_response(
        None if picture is None else _place(picture, dimension),
        None if text is None else _place(text, dimension),
    )


def _place(key: str | bytes, dimension: int) -> NDArray[np.float32]:
    vector = hashed_direction(key, SPANNED_DIMENSIONS) @ _AXES[dimension]
    return np.asarray(vector / np.sqrt(vector @ vector), dtype=np.float32)
