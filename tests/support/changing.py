"""A bucket that changes all the time, and remembers every version that it ever held."""

import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image

from tests.support.buckets import LocalBucket
from tests.support.servers.record import content_of

CELLS, SIDE = 8, 64


def mosaic(number: int) -> bytes:
    """Return an encoded picture of random colours: no two numbers look alike to a model."""
    colours = np.random.default_rng(number).integers(0, 256, (CELLS, CELLS, 3), np.uint8)
    encoded = BytesIO()
    Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(encoded, "PNG")
    return encoded.getvalue()


@dataclass(slots=True)
class Version:
    """What an object once was.

    Attributes:
        content: its md5 as Cloud Storage lists it.
        put_at, left_at: between these it was, or may have been, the object's; in Unix seconds.
    """

    name: str
    generation: int
    content: str
    put_at: float
    left_at: float = math.inf


@dataclass(slots=True)
class ChangingBucket:
    """A bucket, its present versions by name, all versions there ever were, and the pictures."""

    bucket: LocalBucket
    random: random.Random
    current: dict[str, Version] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**9)))

    def fill(self, images: int) -> None:
        """Put so many pictures into the bucket."""
        names = [f"{number:04d}.png" for number in range(images)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(self.put, names, [self.new_picture() for _ in names]))

    def put(self, name: str, data: bytes) -> None:
        """Put or overwrite an object."""
        before = time.time()
        generation = self.bucket.put(name, data)
        self._leave(name)
        version = Version(name, generation, content_of(data), before)
        self.pictures[version.content] = data
        self.current[name] = version
        self.versions.append(version)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.bucket.delete(name)
        self._leave(name)

    def data(self, name: str) -> bytes:
        """Return an object's present bytes."""
        return self.pictures[self.current[name].content]

    def new_picture(self) -> bytes:
        """Return a picture that never was in the bucket."""
        return mosaic(next(self._numbers))

    def change(self, objects: int) -> list[str]:
        """Change so many objects, each in a way that the seed draws; return what was done."""
        kinds: list[Callable[[str], str]] = [
            self.add,
            self.replace,
            self.move,
            self.touch,
            self.copy,
            self.swap,
            self.remove,
        ]
        chosen = self.random.sample(sorted(self.current), objects)
        return [self.random.choice(kinds)(name) for name in chosen if name in self.current]

    def add(self, _name: str = "") -> str:
        """Upload a picture that is new."""
        picture = self.new_picture()
        new = f"added/{len(self.versions):05d}.png"
        self.put(new, picture)
        return f"add {new}"

    def replace(self, name: str) -> str:
        """Give an object a content that is new."""
        self.put(name, self.new_picture())
        return f"replace {name}"

    def move(self, name: str) -> str:
        """Rename an object."""
        new = f"moved/{len(self.versions):05d}.png"
        self.put(new, self.data(name))
        self.delete(name)
        return f"move {name} to {new}"

    def touch(self, name: str) -> str:
        """Write an object's bytes again."""
        self.put(name, self.data(name))
        return f"touch {name}"

    def copy(self, name: str) -> str:
        """Give an object's content a second name: before its own or after it, in their order."""
        new = f"{self.random.choice(('-', 'z'))}twins/{len(self.versions):05d}.png"
        self.put(new, self.data(name))
        return f"copy {name} to {new}"

    def swap(self, name: str) -> str:
        """Let two objects exchange their contents."""
        other = self.random.choice(sorted(self.current))
        ours, theirs = self.data(name), self.data(other)
        self.put(name, theirs)
        self.put(other, ours)
        return f"swap {name} and {other}"

    def remove(self, name: str) -> str:
        """Delete an object."""
        self.delete(name)
        return f"remove {name}"

    def _leave(self, name: str) -> None:
        if name in self.current:
            self.current.pop(name).left_at = time.time()
