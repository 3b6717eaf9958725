"""Indicators that go on: computed whole once, then continued by each new candle.

A `Step` is the state of one recurrence beside the function that computes it whole. TA-Lib's part
of it is TA-Lib's own stream, which gives the bits that its functions give; what this package adds
to TA-Lib's answers, the steps add to the stream's. Where a step cannot go on (too few candles, a
value that is not finite) there is none, and the whole is computed again.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import talib
from talib import InsufficientHistory  # type: ignore[attr-defined]

from milo.ta.arguments import Floats, first_defined

if TYPE_CHECKING:
    from milo.ta.spec import IndicatorSpec
    from milo.ta.zigzag import Mark, ZigZag

Columns = tuple[Floats, ...]
Values = tuple[float, ...]
Path = tuple[Any, ...]

# A whole computation takes about 5 ns a candle and some microseconds, a step about a microsecond.
_FEW_ROWS = 20
_ROWS_PER_STEP = 200
# A script may ask with other numbers at each candle; what it leaves behind must not pile up.
_MOST_IDLE = 2


class TooShort(Exception):
    """The rows are too few for a state: the whole is to be computed again."""


class Step(Protocol):
    """The state of a recurrence after some rows of its columns."""

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        """Return the values at row `index`, the first that the state does not know.

        The rows up to it are finite. With `keep` the state then knows it; without, it is as before.
        """


class Stream:
    """One stream of TA-Lib: `next` takes a row of numbers."""

    __slots__ = ("_peek", "_update")

    def __init__(self, name: str, columns: Columns, *parameters: float) -> None:
        """Open it on rows without NaN, but for leading ones; raises TooShort where they are few."""
        try:
            handle = getattr(talib.stream, name)(*columns, *parameters)
        except InsufficientHistory as error:
            raise TooShort from error
        self._update = handle.update
        self._peek = handle.peek

    def next(self, row: Values, *, keep: bool) -> Any:
        """Return TA-Lib's answer: a float, or a tuple of them."""
        return self._update(*row) if keep else self._peek(*row)


class RunningSeries:
    """The arrays of one indicator over columns that grow at their end.

    What `closed` and `forming` return is valid until the next call: the arrays share memory.
    """

    __slots__ = ("_arrays", "_count", "_parameters", "_spec", "_step")

    def __init__(self, spec: IndicatorSpec, parameters: tuple[Any, ...]) -> None:
        self._spec = spec
        self._parameters = parameters
        self._count = 0
        self._arrays: Columns = ()
        self._step: Step | None = None

    def closed(self, columns: Columns) -> Columns:
        """Return the indicator of the columns, whose earlier rows are those of the last call.

        Raises what the indicator raises for its parameters.
        """
        count = len(columns[0])
        coming = count - self._count
        if not self._arrays or (coming and not self._continued(columns, count, coming)):
            self._arrays = self._whole(columns)
            self._count = count
            self._step = None
        return self._cut(count)

    def forming(self, columns: Columns) -> Columns:
        """Return the indicator of columns whose last row is not final; nothing remembers it."""
        count = len(columns[0])
        self.closed(tuple([column[:-1] for column in columns]))
        values = self._values_at(columns, count - 1, keep=False)
        if values is None:
            return self._whole(columns)
        self._write(count - 1, values)
        return self._cut(count)

    def _continued(self, columns: Columns, count: int, coming: int) -> bool:
        """Go on by steps, where that is possible and quicker."""
        if not 0 < coming <= _FEW_ROWS + count // _ROWS_PER_STEP:
            return False
        for index in range(self._count, count):
            values = self._values_at(columns, index, keep=True)
            if values is None:
                return False
            self._write(index, values)
            self._count = index + 1
        return True

    def _values_at(self, columns: Columns, index: int, *, keep: bool) -> Values | None:
        for column in columns:
            if not isfinite(column.item(index)):
                return None
        step = self._step
        if step is None:
            step = self._step = opened(
                self._spec, tuple(column[:index] for column in columns), self._parameters
            )
            if step is None:
                return None
        return step.next(columns, index, keep=keep)

    def _whole(self, columns: Columns) -> Columns:
        answer = self._spec.function(*columns, *self._parameters)
        return answer if isinstance(answer, tuple) else (answer,)

    def _write(self, index: int, values: Values) -> None:
        if index >= len(self._arrays[0]):
            room = np.empty(index // 2 + 64)
            self._arrays = tuple(np.concatenate((array, room)) for array in self._arrays)
        for array, value in zip(self._arrays, values, strict=True):
            array[index] = value

    def _cut(self, count: int) -> Columns:
        if len(self._arrays) == 1:
            # Most have one, and a generator takes as long as the step itself.
            return (self._arrays[0][:count],)
        return tuple(array[:count] for array in self._arrays)


class RunningZigZag:
    """The ZigZag of closes that grow at their end; the same object at each call."""

    __slots__ = ("_mark", "_parameters", "_spec", "_zigzag")

    def __init__(self, spec: IndicatorSpec, parameters: tuple[Any, ...]) -> None:
        self._spec = spec
        self._parameters = parameters
        self._zigzag: ZigZag | None = None
        self._mark: Mark | None = None

    def closed(self, columns: Columns) -> ZigZag:
        """Return the ZigZag of the closes, whose earlier rows are those of the last call.

        Raises what the indicator raises for its parameters.
        """
        (close,) = columns
        if self._zigzag is None:
            self._zigzag = self._spec.function(close, *self._parameters)
            return self._zigzag
        if self._mark is not None:
            self._zigzag.rewind(self._mark)
            self._mark = None
        self._zigzag.extend(close)
        return self._zigzag

    def forming(self, columns: Columns) -> ZigZag:
        """Return the ZigZag of closes whose last one is not final; the next call forgets it."""
        (close,) = columns
        found = self.closed((close[:-1],))
        self._mark = found.mark()
        found.extend(close)
        return found


class RunningIndicators:
    """All indicators that somebody asks of one growing history, each continued where it was left.

    Look-ahead cannot arise here: the caller gives the columns up to the newest row that counts.
    """

    def __init__(self) -> None:
        self._entries: dict[Path, _Entry] = {}
        self._is_forming = False

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, *, is_forming: bool) -> None:
        """Say that rows may have come, and whether the last one of now is still forming.

        Indicators that were not asked for lately are forgotten.
        """
        self._is_forming = is_forming
        stale = []
        for path, entry in self._entries.items():
            entry.idle += 1
            if entry.idle > _MOST_IDLE:
                stale.append(path)
        for path in stale:
            del self._entries[path]

    def forget(self) -> None:
        """Forget all indicators; arrays that somebody holds stay as they are."""
        self._entries.clear()

    def answer(
        self, path: Path, spec: IndicatorSpec, parameters: tuple[Any, ...], columns: Columns
    ) -> Any:
        """Return what `spec.function(*columns, *parameters)` does, bit for bit.

        `path` names the indicator, and what it is computed of: the same path means the same rows,
        and new ones behind them. Arrays are valid until the next `begin`. Raises what the
        indicator raises for its parameters.
        """
        # Taken out meanwhile: a script's time may be over in the midst of a step.
        entry = self._entries.pop(path, None)
        if entry is None:
            is_zigzag = spec.returns == "points"
            kind = RunningZigZag if is_zigzag else RunningSeries
            entry = _Entry(kind(spec, parameters))
        running = entry.running
        found = running.forming(columns) if self._is_forming else running.closed(columns)
        entry.idle = 0
        self._entries[path] = entry
        return found[0] if isinstance(found, tuple) and len(found) == 1 else found

    def search(
        self, path: Path, spec: IndicatorSpec, parameters: tuple[Any, ...]
    ) -> tuple[Any, bool]:
        """Return the `spec.search` of a path, and whether the last row is still forming."""
        entry = self._entries.get(path)
        if entry is None:
            assert spec.search is not None
            entry = self._entries[path] = _Entry(spec.search(*parameters))
        entry.idle = 0
        return entry.running, self._is_forming


class _Entry:
    __slots__ = ("idle", "running")

    def __init__(self, running: Any) -> None:
        self.running = running
        self.idle = 0


def opened(spec: IndicatorSpec, columns: Columns, parameters: tuple[Any, ...]) -> Step | None:
    """Return the state of an indicator after its columns; None where it cannot go on by steps.

    The parameters are ones that the indicator has taken. Leading NaNs of a series are passed over.
    """
    if spec.step is None or not len(columns[0]):
        return None
    for column in columns:
        start = first_defined(column) if spec.takes == ("values",) else 0
        if not np.isfinite(column[start:]).all():
            return None
    try:
        step: Step | None = spec.step(*columns, *parameters)
    except TooShort:
        return None
    return step
