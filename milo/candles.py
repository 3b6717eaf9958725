"""Candles as columns: numpy arrays that never change, prefixes for free, cheap growth (layer 1).

Several `Candles` share one growing buffer. Rows that anybody can see are never written again, so
an old object stays what it was while newer ones grow behind it. Not thread-safe: append from one
thread only; reading from any thread is fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milo.model import Candle

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

PRICE_COLUMNS: Final = ("open", "high", "low", "close", "volume")
"""The float columns, in the order of a row after its open time."""

_ROW_ITEMS = 1 + len(PRICE_COLUMNS)
_MIN_CAPACITY = 64


class _Buffer:
    """The rows behind some `Candles`; rows below `used` are frozen, those above are free."""

    __slots__ = ("columns", "times", "used")

    def __init__(self, times: Times, columns: tuple[Floats, ...], used: int) -> None:
        self.times = times
        self.columns = columns
        self.used = used

    @property
    def capacity(self) -> int:
        return len(self.times)

    def grown(self, count: int, capacity: int) -> _Buffer:
        """Return a new buffer that holds the first `count` rows and has room for `capacity`."""
        times = np.empty(capacity, dtype=np.int64)
        times[:count] = self.times[:count]
        columns = tuple(np.empty(capacity, dtype=np.float64) for _ in self.columns)
        for new, old in zip(columns, self.columns, strict=True):
            new[:count] = old[:count]
        return _Buffer(times, columns, count)

    def put(self, row: int, candle: Candle) -> None:
        self.times[row] = candle.open_ms
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        for column, value in zip(self.columns, values, strict=True):
            column[row] = value


class Candles:
    """An immutable run of candles, oldest first.

    The columns `open_ms` (int64, ms UTC, strictly increasing) and `open high low close volume`
    (float64, finite) are read-only arrays of `len(self)` items. Make one with `from_rows`,
    `from_columns` or `empty`; `appended`, `replaced_last` and `prefix` return new objects.
    """

    __slots__ = ("_buffer", "_length", "_views")

    def __init__(self, buffer: _Buffer, length: int) -> None:
        self._buffer = buffer
        self._length = length
        self._views: list[NDArray[Any] | None] = [None] * _ROW_ITEMS

    @classmethod
    def empty(cls) -> Candles:
        """Return no candles, ready to be appended to."""
        return cls(_Buffer(np.empty(0, np.int64), tuple(np.empty(0) for _ in PRICE_COLUMNS), 0), 0)

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Candles:
        """Return candles of rows (open_ms, open, high, low, close, volume, ...), oldest first.

        Items after the sixth are ignored, so that rows of the exchange's form fit as they are.
        Raises ValueError where a row is short, a value is not a finite number or times do not
        increase.
        """
        listed = list(rows)
        if not listed:
            return cls.empty()
        for index, row in enumerate(listed):
            if len(row) < _ROW_ITEMS:
                raise ValueError(f"candle {index} has {len(row)} items instead of {_ROW_ITEMS}")
        return cls.from_columns(*([row[item] for row in listed] for item in range(_ROW_ITEMS)))

    @classmethod
    def from_columns(
        cls,
        open_ms: ArrayLike,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
    ) -> Candles:
        """Return candles of six columns of one length.

        Read-only float64 (int64) arrays, such as a mapped file's, are taken as they are; all else
        is copied. Raises ValueError as `from_rows` does.
        """
        times = _times_of(open_ms)
        columns = tuple(
            _floats_of(name, values, len(times))
            for name, values in zip(PRICE_COLUMNS, (open, high, low, close, volume), strict=True)
        )
        return cls(_Buffer(times, columns, len(times)), len(times))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Candle]:
        return (self.candle(index) for index in range(self._length))

    def __repr__(self) -> str:
        if not self._length:
            return "Candles(0)"
        return f"Candles({self._length}, open_ms={self.open_ms[0]}..{self.open_ms[-1]})"

    @property
    def open_ms(self) -> Times:
        return self._view(0)

    @property
    def open(self) -> Floats:
        return self._view(1)

    @property
    def high(self) -> Floats:
        return self._view(2)

    @property
    def low(self) -> Floats:
        return self._view(3)

    @property
    def close(self) -> Floats:
        return self._view(4)

    @property
    def volume(self) -> Floats:
        return self._view(5)

    def candle(self, index: int) -> Candle:
        """Return one candle as plain Python numbers; negative indices count from the end.

        Raises IndexError outside the candles.
        """
        row = index + self._length if index < 0 else index
        if not 0 <= row < self._length:
            raise IndexError(f"candle {index} of {self._length}")
        buffer = self._buffer
        # `item` makes Python's own numbers at once: this is asked for on every candle.
        return Candle(buffer.times.item(row), *[column.item(row) for column in buffer.columns])

    def prefix(self, count: int) -> Candles:
        """Return the first `count` candles as a view; O(1). Raises ValueError outside 0..len."""
        if not 0 <= count <= self._length:
            raise ValueError(f"a prefix of {count} of {self._length} candles does not exist")
        return self if count == self._length else Candles(self._buffer, count)

    def appended(self, candle: Candle) -> Candles:
        """Return these candles and one more; amortised O(1) at the newest end, else a copy.

        Raises ValueError where the candle is not later than the last or not finite.
        """
        _check(candle)
        count = self._length
        buffer = self._buffer
        if count and candle.open_ms <= buffer.times[count - 1]:
            last_ms = int(buffer.times[count - 1])
            raise ValueError(f"candle at {candle.open_ms} does not follow the one at {last_ms}")
        # A longer object already wrote the next row: it is not ours to write again.
        if count != buffer.used or count == buffer.capacity:
            buffer = buffer.grown(count, max(_MIN_CAPACITY, count * 2))
        buffer.put(count, candle)
        buffer.used = count + 1
        return Candles(buffer, count + 1)

    def replaced_last(self, candle: Candle) -> Candles:
        """Return these candles with a newer state of the last one; O(n), a copy.

        Raises ValueError where there is no candle with that open time at the end, or values are
        not finite.
        """
        last_ms = int(self._buffer.times[self._length - 1]) if self._length else None
        if candle.open_ms != last_ms:
            raise ValueError(f"candle at {candle.open_ms} cannot replace the one at {last_ms}")
        return self.prefix(self._length - 1).appended(candle)

    def _view(self, item: int) -> NDArray[Any]:
        view = self._views[item]
        if view is None:
            buffer = self._buffer
            source: NDArray[Any] = buffer.columns[item - 1] if item else buffer.times
            view = source[: self._length]
            view.setflags(write=False)
            self._views[item] = view
        return view


def _check(candle: Candle) -> None:
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    for name, value in zip(PRICE_COLUMNS, values, strict=True):
        if not isfinite(value):
            raise ValueError(f"candle at {candle.open_ms}: {name} is {value}")


def _times_of(open_ms: ArrayLike) -> Times:
    column = np.asarray(open_ms)
    if column.ndim != 1:
        raise ValueError("open_ms is not one column")
    if not len(column):
        return np.empty(0, np.int64)
    if column.dtype.kind not in "iu":
        raise ValueError("open_ms holds something else than whole numbers (ms UTC)")
    times = _owned(column, np.int64)
    late = np.flatnonzero(times[1:] <= times[:-1])
    if len(late):
        index = int(late[0]) + 1
        raise ValueError(f"candle {index} at {times[index]} is not later than the one before it")
    return times


def _floats_of(name: str, values: ArrayLike, count: int) -> Floats:
    column = np.asarray(values)
    if column.ndim != 1 or len(column) != count:
        raise ValueError(f"{name} is not one column of {count} values")
    if count and column.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds something else than numbers")
    floats = _owned(column, np.float64)
    bad = np.flatnonzero(~np.isfinite(floats))
    if len(bad):
        index = int(bad[0])
        raise ValueError(f"candle {index}: {name} is {floats[index]}")
    return floats


def _owned(column: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return the column as it is where nobody can write to it, else a copy."""
    if column.dtype == dtype and column.flags.c_contiguous and not column.flags.writeable:
        return column
    return np.array(column, dtype=dtype)
