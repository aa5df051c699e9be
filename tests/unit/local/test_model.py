import io
import pickle
import struct

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from deployments.local.errors import StackError
from deployments.local.model.graph import INPUT, build_graph, fold_batch_norm, same_padding
from deployments.local.model.model import LARGEST_PROJECTION, principal_directions
from deployments.local.model.text import LabelIndex, TextEncoder, hashed_direction, singular
from deployments.local.model.weights import LEGACY_MAGIC_NUMBER, load_weights, read_weights

LABELS = [
    "tench, Tinca tinca",
    "tiger shark",
    "great white shark, white shark",
    "airliner",
    "daisy",
]


# A tensor's outline as PyTorch pickles it: 2 x 3 values of storage "s", in column order.
OUTLINE = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00sX\x03\x00\x00\x00cpuK\x06NtQ"
    b"K\x00K\x02K\x03\x86K\x01K\x02\x86\x89}tRs."
)
VALUES = struct.pack("<q6f", 6, *range(6))


def legacy_file(
    outline: bytes = OUTLINE, values: bytes = VALUES, version: int = 1001
) -> io.BytesIO:
    head = [LEGACY_MAGIC_NUMBER, version, {"little_endian": True}]
    parts = [pickle.dumps(part, protocol=2) for part in head]
    return io.BytesIO(b"".join([*parts, outline, pickle.dumps(["s"], protocol=2), values]))


def test_weights_are_read_in_the_order_their_strides_say() -> None:
    weights = read_weights(legacy_file())
    assert weights["w"].tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "torch\nload", "numpy\nload"])
def test_weights_that_name_a_function_are_refused_uncalled(name: str) -> None:
    call = b"\x80\x02c" + name.encode() + b"\n(X\x04\x00\x00\x00exittR."
    with pytest.raises(StackError, match=f"names {name.replace(chr(10), '.')}"):
        read_weights(legacy_file(call))


@pytest.mark.parametrize(
    "file",
    [
        io.BytesIO(b""),
        io.BytesIO(b"PK\x03\x04 the newer format is a ZIP file"),
        legacy_file(version=1002),
        legacy_file(values=VALUES[:-1]),
        legacy_file(values=struct.pack("<q5f", 5, *range(5))),
    ],
)
def test_weights_that_are_not_what_they_should_be_are_refused(file: io.BytesIO) -> None:
    with pytest.raises(StackError, match=r"weights: .+; reinstall birdwalk\[local\]"):
        read_weights(file)


@pytest.mark.parametrize(
    ("size", "side", "stride", "padding"),
    [
        (224, 3, 2, (0, 1)),
        (112, 5, 2, (1, 2)),
        (7, 5, 1, (2, 2)),
        (7, 1, 1, (0, 0)),
        (15, 3, 2, (1, 1)),
    ],
)
def test_padding_is_tensorflows(
    size: int, side: int, stride: int, padding: tuple[int, int]
) -> None:
    assert same_padding(size, side, stride) == padding


def test_a_folded_kernel_does_the_batch_normalisation() -> None:
    draws = np.random.default_rng(1)
    weights = {
        "conv.weight": draws.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "norm.weight": draws.standard_normal(4).astype(np.float32),
        "norm.bias": draws.standard_normal(4).astype(np.float32),
        "norm.running_mean": draws.standard_normal(4).astype(np.float32),
        "norm.running_var": np.array([0.0, 0.5, 1.0, 2.0], np.float32),
    }
    pixel = draws.standard_normal(3)
    convolved = weights["conv.weight"][:, :, 0, 0] @ pixel
    centred = (convolved - weights["norm.running_mean"]) / np.sqrt(
        weights["norm.running_var"] + 1e-3
    )
    expected = centred * weights["norm.weight"] + weights["norm.bias"]
    kernel, bias = fold_batch_norm(weights, "conv", "norm")
    assert np.allclose(kernel[:, :, 0, 0] @ pixel + bias, expected, atol=1e-4)


def test_pixels_are_scaled_as_the_network_was_trained() -> None:
    model = build_graph(load_weights())
    del model.graph.node[4:], model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(model.graph.node[-1].output[0], TensorProto.FLOAT, None)
    )
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    pixels[0, 0, 0] = [127, 255, 63]
    outputs = ReferenceEvaluator(model).run(None, {INPUT: pixels})
    assert isinstance(outputs, list)
    planes = np.asarray(outputs[0])
    assert planes.shape == (1, 3, 224, 224)
    assert planes[0, :, 0, 0].tolist() == [0.0, 1.0, -0.5]


def test_directions_are_orthonormal_and_their_sign_is_settled() -> None:
    rows = np.random.default_rng(1).standard_normal((520, 600)).astype(np.float32)
    directions = principal_directions(rows)
    assert directions.shape == (LARGEST_PROJECTION, 600)
    assert np.allclose(directions @ directions.T, np.eye(LARGEST_PROJECTION), atol=1e-4)
    assert np.array_equal(directions.max(axis=1), np.abs(directions).max(axis=1))


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("planes", "plane"),
        ("butterflies", "butterfly"),
        ("foxes", "fox"),
        ("churches", "church"),
        ("grass", "grass"),
        ("glasses", "glass"),
        ("walrus", "walrus"),
        ("bus", "bus"),
        ("ties", "tie"),
    ],
)
def test_plurals_lose_their_ending(plural: str, expected: str) -> None:
    assert singular(plural) == expected


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("airliner", [(3,)]),
        ("A photo of two Airliners!", [(3,)]),
        ("the great white shark", [(2,)]),
        ("sharks", [(1, 2)]),
        ("a tiger shark and some daisies", [(1,), (4,)]),
        ("Tinca", [(0,)]),
        ("white daisy", [(4,)]),
        ("quantum chromodynamics", []),
        ("a photo of the", []),
        ("", []),
    ],
)
def test_a_text_names_the_classes_whose_labels_it_holds(
    text: str, classes: list[tuple[int, ...]]
) -> None:
    assert LabelIndex(LABELS).find(text) == classes


def test_an_everyday_word_covers_its_classes() -> None:
    (planes,) = LabelIndex(LABELS).find("a plane")
    assert planes == (404, 895)


def test_several_names_are_averaged() -> None:
    encoder = TextEncoder(LABELS, np.eye(5, dtype=np.float32))
    both = encoder.encode("an airliner over a daisy")
    assert np.allclose(both, [0, 0, 0, 0.5, 0.5])


def test_a_text_that_names_nothing_gets_the_same_direction_each_time() -> None:
    encoder = TextEncoder(LABELS, np.eye(5, 1280, dtype=np.float32))
    direction = encoder.encode("quantum chromodynamics")
    assert np.array_equal(direction, encoder.encode("Quantum   chromodynamics?"))
    assert not np.allclose(direction, encoder.encode("monetary policy"))
    assert np.isclose(np.linalg.norm(direction), 1)


def test_a_hashed_direction_never_changes() -> None:
    direction = hashed_direction("gs://birdwalk/plane.png", 128)
    assert direction.shape == (128,)
    assert direction.dtype == np.float32
    assert np.isclose(np.linalg.norm(direction), 1)
    assert np.allclose(direction[:3], [0.05252673, 0.09265678, 0.02089598], atol=1e-6)
    assert np.array_equal(direction, hashed_direction(b"gs://birdwalk/plane.png", 128))
