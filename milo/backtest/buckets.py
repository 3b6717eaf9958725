"""Long series in few buckets, for a page: extremes are kept, nothing is averaged (layer 1)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Buckets:
    """How a series of `count` items is cut: bucket k begins with item `starts[k]`."""

    count: int
    starts: NDArray[np.int64]

    def first(self, values: Numbers) -> Numbers:
        return values[self.starts]

    def last(self, values: Numbers) -> Numbers:
        ends = np.append(self.starts[1:], self.count) - 1
        found: Numbers = values[ends[: len(self.starts)]]
        return found

    def lowest(self, values: Numbers) -> Numbers:
        return np.minimum.reduceat(values, self.starts) if self.count else values

    def highest(self, values: Numbers) -> Numbers:
        return np.maximum.reduceat(values, self.starts) if self.count else values


def buckets_of(count: int, most: int) -> Buckets:
    """Return at most `most` buckets of equally many items each; the last may have fewer."""
    width = max(1, -(-count // most))
    return Buckets(count, np.arange(0, count, width, dtype=np.int64))


def float32_text(values: Numbers) -> str:
    """Return the numbers as little-endian float32 in base64: 7 digits, enough to draw with."""
    return b64encode(values.astype("<f4").tobytes()).decode()


def float64_text(values: Numbers) -> str:
    """Return the numbers as little-endian float64 in base64."""
    return b64encode(values.astype("<f8").tobytes()).decode()
