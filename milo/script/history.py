"""The worker's candles: packed rows in, columns out (layer 1).

A row is as milo.script.protocol packs it.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from milo.script.protocol import CANDLE_ROW
from milo.script.views import CandleBase, Origin, Rows
from milo.ta.running import RunningIndicators

_Item = TypeVar("_Item", bound=np.generic)

_ITEMS: Final = 6
_VALUE_BYTES: Final = 8
_FIRST_CAPACITY: Final = 1024


class History:
    """All closed candles of a run, and room for the forming one behind them."""

    def __init__(self) -> None:
        self._count = 0
        self._times = np.empty(0, dtype=np.int64)
        self._columns = [np.empty(0) for _ in range(_ITEMS - 1)]
        self._rows = Rows([])
        self._indicators = RunningIndicators()
        self._whole: CandleBase | None = None

    def __len__(self) -> int:
        return self._count

    def clear(self, coming: int = 0) -> None:
        """Forget everything; make room at once for the candles that will come, where known."""
        self.__init__()  # type: ignore[misc]
        if coming:
            self._grow(coming + 1)

    def extend(self, packed: bytes) -> None:
        """Append closed candles; raises ValueError where the bytes are not whole rows."""
        self._whole = None
        before = self._count
        if len(packed) == CANDLE_ROW.size:
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

    def put_column(self, number: int, first: int, values: memoryview) -> None:
        """Write a part of a column as `room` takes it."""
        self.room(number, first, len(values))[:] = values

    def room(self, number: int, first: int, size: int) -> memoryview:
        """Return where so many bytes of a column (0: the times) belong, behind what is known.

        They are to be written before anything else is asked: with a part of the last column its
        candles count as known. Raises ValueError where they would not follow the others.
        """
        stop = first + size // _VALUE_BYTES
        if first != self._count or not 0 <= number < _ITEMS or size % _VALUE_BYTES:
            raise ValueError(f"column {number} from {first} on does not follow {self._count}")
        self._whole = None
        self._reserve(stop)
        column: NDArray[Any] = self._columns[number - 1] if number else self._times
        if number == _ITEMS - 1:
            self._rows.resize(first, stop)
            self._count = stop
        return column[first:stop].data.cast("B")

    def base(self, forming: bytes | None = None) -> CandleBase:
        """Return the columns as of now; they are valid until the next `extend` or `base`.

        Without a forming candle it is the same one, with its indicators, until candles come.
        """
        count = self._count
        if forming:
            self._whole = None
            self._write_one(count, forming)
            count += 1
        elif self._whole is not None:
            return self._whole
        self._rows.resize(self._count, count)
        self._indicators.begin(is_forming=count > self._count)
        origin = Origin(self._indicators)
        base = CandleBase(self._times, self._columns, count, self._rows, origin=origin)
        if not forming:
            self._whole = base
        return base

    def forget_many(self, columns: int) -> None:
        """Drop the indicators of all candles where they are more than so many columns."""
        whole = self._whole
        if whole is not None and whole.computed.tally[0] > columns * self._count:
            whole.forget()

    def _write_one(self, at: int, packed: bytes) -> None:
        self._reserve(at + 1)
        time, *values = CANDLE_ROW.unpack(packed)
        self._times[at] = time
        for column, value in zip(self._columns, values, strict=True):
            column[at] = value

    def _reserve(self, count: int) -> None:
        """Make room for `count` rows and the forming one behind them."""
        if count < len(self._times):
            return
        self._grow(max(_FIRST_CAPACITY, 2 * count))

    def _grow(self, capacity: int) -> None:
        self._times = _grown(self._times, capacity)
        self._columns = [_grown(column, capacity) for column in self._columns]
        # Row objects would keep the old columns.
        self._rows.resize(0, self._count)


def _grown(old: NDArray[_Item], capacity: int) -> NDArray[_Item]:
    new = np.empty(capacity, dtype=old.dtype)
    new[: len(old)] = old
    return new
