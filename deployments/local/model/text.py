"""Embed a text by the labels that it names, among the 1,000 of the picture classifier.

Each label has a row of weights in the classifier's last layer, which points to where pictures of
that label lie. A text's embedding is the mean of the rows of the labels it names. Three steps look
for them, and the first that finds one decides:

1. Labels and everyday words in it, whole ("great white shark", "bird"); a longer name hides the
   shorter ones within it. Each name found counts the same.
2. Single words that some label contains ("shark" is in five labels).
3. Nothing matches: the embedding is a direction drawn from the hash of the words. It is the same
   every time, and near no picture in particular.

Case and plain English plurals make no difference.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Name = tuple[str, ...]

# Everyday words that no label is, by the classes they cover. ImageNet's classes stand in
# WordNet's order, so that kinds are runs of numbers.
EVERYDAY_WORDS: dict[str, tuple[range, ...]] = {
    "bird": (range(7, 25), range(80, 101), range(127, 147)),
    "fish": (range(7), range(389, 398)),
    "snake": (range(52, 69),),
    "lizard": (range(38, 49),),
    "turtle": (range(33, 38),),
    "spider": (range(72, 78),),
    "dog": (range(151, 269),),
    "cat": (range(281, 286),),
    "bear": (range(294, 298),),
    "insect": (range(300, 327),),
    "butterfly": (range(321, 327),),
    "monkey": (range(371, 383),),
    "fruit": (range(948, 958),),
    # Without these three a plane would be the carpenter's tool only.
    "plane": (range(404, 405), range(895, 896)),
    "airplane": (range(404, 405), range(895, 896)),
    "aircraft": (range(404, 405), range(895, 896)),
    "car": (
        range(436, 437),
        range(468, 469),
        range(511, 512),
        range(751, 752),
        range(817, 818),
    ),
    "boat": (range(472, 473), range(554, 555), range(625, 626), range(814, 815)),
    "ship": (range(510, 511), range(628, 629), range(724, 725)),
    "train": (range(466, 467), range(547, 548), range(820, 821)),
    "flower": (range(985, 987),),
}

# Words that say nothing about what is seen.
COMMON_WORDS = frozenset(
    (
        *("a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or"),
        *("the", "this", "that", "to", "with", "image", "photo", "picture"),
    )
)

PLURAL_ENDINGS = (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"))


def singular(word: str) -> str:
    """Return an English noun without its plural ending, by the common rules alone."""
    for ending, replacement in PLURAL_ENDINGS:
        if word.endswith(ending) and len(word) > len("ties"):
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > len("gas"):
        return word[:-1]
    return word


def words_of(text: str) -> Name:
    """Return the words of a text in lower case and singular, without those that say nothing."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return tuple(singular(word) for word in words if word not in COMMON_WORDS)


class LabelIndex:
    """Finds the classes a text names.

    Args:
        labels: for each class its names, separated by commas, in the order of the classes.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        names: defaultdict[Name, set[int]] = defaultdict(set)
        words: defaultdict[str, set[int]] = defaultdict(set)
        for number, label in enumerate(labels):
            for part in label.split(","):
                name = words_of(part)
                names[name].add(number)
                for word in name:
                    words[word].add(number)
        for word, runs in EVERYDAY_WORDS.items():
            names[word,] = {number for run in runs for number in run}
        names.pop((), None)
        self._names = {name: tuple(sorted(classes)) for name, classes in names.items()}
        self._words = {word: tuple(sorted(classes)) for word, classes in words.items()}
        self._longest = max(map(len, self._names))

    def find(self, text: str) -> list[tuple[int, ...]]:
        """Return one group of classes for each name in the text; empty when it names none."""
        words = words_of(text)
        return self._find_names(words) or [
            self._words[word] for word in dict.fromkeys(words) if word in self._words
        ]

    def _find_names(self, words: Name) -> list[tuple[int, ...]]:
        found: dict[Name, tuple[int, ...]] = {}
        start = 0
        while start < len(words):
            for length in range(min(self._longest, len(words) - start), 0, -1):
                name = words[start : start + length]
                if name in self._names:
                    found[name] = self._names[name]
                    start += length
                    break
            else:
                start += 1
        return list(found.values())


class TextEncoder:
    """Turns text into a direction among the pictures' features.

    Args:
        labels: the names of each class, in the order of the classes.
        rows: float32[classes, features], the classifier's weights.
    """

    def __init__(self, labels: Iterable[str], rows: NDArray[np.float32]) -> None:
        self._index = LabelIndex(labels)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode(self, text: str) -> NDArray[np.float32]:
        """Return float32[features]; its length carries no meaning."""
        groups = self._index.find(text)
        if not groups:
            return hashed_direction(" ".join(words_of(text)) or text, self._rows.shape[1])
        means = [self._rows[list(classes)].mean(axis=0) for classes in groups]
        directions = [mean / np.linalg.norm(mean) for mean in means]
        return np.asarray(np.mean(directions, axis=0), dtype=np.float32)


def hashed_direction(key: str | bytes, dimension: int) -> NDArray[np.float32]:
    """Return a unit vector, float32[dimension], that depends on the key alone.

    The same on every machine and every version of numpy: its values are the key's SHAKE-128.
    """
    data = key if isinstance(key, bytes) else key.encode("utf-8", "surrogatepass")
    digest = hashlib.shake_128(data).digest(2 * dimension)
    values = np.frombuffer(digest, "<i2").astype(np.float32)
    return np.asarray(values / np.sqrt(values @ values), dtype=np.float32)
