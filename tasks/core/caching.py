"""Keep what was asked for last, as much of it as fits."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Holds values up to a total weight; those that were not asked for longest make room.

    Attributes:
        most: the weight that all values together may have, in whatever `put` is told, as bytes.
        weight: what they have now.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.weight = 0
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> Value | None:
        """Return a value, which counts as asked for now; None where it is not held."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Hold a value in place of the key's former one; one that alone is too heavy is not."""
        if key in self._held:
            self.weight -= self._held.pop(key)[1]
        if weight > self.most:
            return
        self._held[key] = (value, weight)
        self.weight += weight
        while self.weight > self.most:
            _, (_, freed) = self._held.popitem(last=False)
            self.weight -= freed
