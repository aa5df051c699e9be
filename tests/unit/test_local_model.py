import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from deployments.local.model import LARGEST_PROJECTION, principal_directions
from deployments.local.model_graph import fold_batch_norm, same_padding
from deployments.local.model_images import MAXIMUM_BYTES, UnreadableImage, decode_image
from deployments.local.model_text import (
    LabelIndex,
    TextEncoder,
    hashed_direction,
    singular,
)
from deployments.local.model_weights import (
    LEGACY_MAGIC_NUMBER,
    read_weights,
)
from tasks.core.errors import StackError

LABELS = [
    "tench, Tinca tinca",
    "tiger shark",
    "great white shark, white shark",
    "airliner",
    "daisy",
]


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def two_halves(left: str, right: str, size: tuple[int, int] = (400, 400)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


@pytest.mark.parametrize("image_format", ["BMP", "GIF", "JPEG", "PNG"])
def test_googles_four_formats_are_decoded(image_format: str) -> None:
    pixels = decode_image(encoded(two_halves("black", "white"), image_format))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, :100].max() < 30
    assert pixels[:, 124:].min() > 225


@pytest.mark.parametrize("image_format", ["WEBP", "TIFF", "AVIF", "PPM", "ICO"])
def test_other_formats_are_refused(image_format: str) -> None:
    data = encoded(Image.new("RGB", (64, 64)), image_format)
    with pytest.raises(UnreadableImage, match=r"image is not in a supported format.*GIF, JPG, PNG"):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image is empty"),
        (b"a page of text", "not in a supported format"),
        (encoded(two_halves("red", "blue"), "JPEG")[:900], "could not be decoded"),
        (encoded(two_halves("red", "blue"), "PNG")[:400], "could not be decoded"),
        (b"\x89PNG\r\n\x1a\n" + bytes(MAXIMUM_BYTES), "image is too large"),
    ],
)
def test_bytes_that_are_no_picture_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(data)


# The smaller one only makes Pillow warn, unless warnings are errors as they are here.
@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_unread(side: int) -> None:
    bomb = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    bomb[18:26] = struct.pack("<ii", side, side)
    with pytest.raises(UnreadableImage, match="image has too many pixels"):
        decode_image(bytes(bomb))


def test_transparent_parts_lie_on_white() -> None:
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (128, 0, 256, 256))
    pixels = decode_image(encoded(image, "PNG"))
    assert pixels[112, 20].tolist() == [255, 255, 255]
    assert pixels[112, 200].tolist() == [200, 0, 0]


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("P", (256, 256), 1)
    image.putpalette([10, 20, 30, 0, 0, 0])
    pixels = decode_image(encoded(image, "PNG", transparency=1))
    assert pixels.min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image_format = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_image(encoded(Image.new(mode, (300, 260)), image_format)).shape == (224, 224, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    upright = Image.new("RGB", (400, 400), "white")
    upright.paste("black", (0, 0, 200, 100))
    upright.paste("red", (200, 200, 400, 400))
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright if orientation == 1 else upright.transpose(stored_as[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = decode_image(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(seen, decode_image(encoded(upright, "PNG")))


def test_a_wide_picture_keeps_its_proportions() -> None:
    image = Image.new("RGB", (1024, 256), "white")
    image.paste("black", (512 - 56, 0, 512 + 56, 256))
    dark = decode_image(encoded(image, "PNG"))[112, :, 0] < 128
    assert dark.sum() == 112


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> object:
        decoded.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    decode_image(encoded(two_halves("red", "blue", (4096, 2048)), "JPEG"))
    assert decoded[0] == (512, 256)


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
