"""The worker's candles: packed rows in, columns out (layer 1).

A row is six little-endian doubles: open time (ms UTC, exact in a double), open, high, low, close,
volume; 48 bytes.
"""

from __future__ import annotations

import struct
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from milo.script.views import CandleBase, Origin, Rows
from milo.ta.running import RunningIndicators

_Item = TypeVar("_Item", bound=np.generic)

ROW_BYTES: Final = 48
_ROW: Final = struct.Struct("<6d")
_ITEMS: Final = 6
_FIRST_CAPACITY: Final = 1024


class History:
    """All closed candles of a run, and room for the forming one behind them."""

    def __init__(self) -> None:
        self._count = 0
        self._times = np.empty(0, dtype=np.int64)
        self._columns = [np.empty(0) for _ in range(_ITEMS - 1)]
        self._rows = Rows([])
        self._indicators = RunningIndicators()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]

    def extend(self, packed: bytes) -> None:
        """Append closed candles; raises ValueError where the bytes are not whole rows."""
        before = self._count
        if len(packed) == ROW_BYTES:
            self._write_one(before, packed)
            self._count = before + 1
        else:
            rows = np.frombuffer(packed, dtype="<f8").reshape(-1, _ITEMS)
            self._count = before + len(rows)
            self._reserve(self._count)
            self._times[before : self._count] = rows[:, 0]
            for column, values in zip(self._columns, rows[:, 1:].T, strict=True):
                column[before : self._count] = values
        self._rows.resize(before, self._count)

    def base(self, forming: bytes | None) -> CandleBase:
        """Return the columns as of now; they are valid until the next `extend` or `base`."""
        count = self._count
        if forming:
            self._write_one(count, forming)
            count += 1
        self._rows.resize(self._count, count)
        self._indicators.begin(is_forming=count > self._count)
        origin = Origin(self._indicators)
        return CandleBase(self._times, self._columns, count, self._rows, origin=origin)

    def _write_one(self, at: int, packed: bytes) -> None:
        self._reserve(at + 1)
        time, *values = _ROW.unpack(packed)
        self._times[at] = time
        for column, value in zip(self._columns, values, strict=True):
            column[at] = value

    def _reserve(self, count: int) -> None:
        """Make room for `count` rows and the forming one behind them."""
        if count < len(self._times):
            return
        capacity = max(_FIRST_CAPACITY, 2 * count)
        self._times = _grown(self._times, capacity)
        self._columns = [_grown(column, capacity) for column in self._columns]


def _grown(old: NDArray[_Item], capacity: int) -> NDArray[_Item]:
    new = np.empty(capacity, dtype=old.dtype)
    new[: len(old)] = old
    return new
