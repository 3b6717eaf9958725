"""What scripts get to read: candles and indicator series that cannot be changed (layer 1).

Items are plain Python numbers, never array scalars. A prefix (`data[:n]`, `rsi[:n]`) is a view of
the same base, so that an indicator is computed once for the whole and cut for each prefix; every
other slice is a series of its own, whose indicators start afresh.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from milo.ta.running import RunningIndicators
from milo.ta.spec import IndicatorSpec

Floats = NDArray[np.float64]

FIELDS: Final = ("time", "open", "high", "low", "close", "volume")


class CandleView:
    """One candle: `candle["close"]` and `candle.close` are the same; time is ms UTC."""

    __slots__ = FIELDS

    def __init__(
        self, time: int, open: float, high: float, low: float, close: float, volume: float
    ) -> None:
        self.time = time
        self.open = open
        self.high = high
        self.low = low
        self.close = close
        self.volume = volume

    def __getitem__(self, key: str) -> float:
        if key in FIELDS:
            value: float = getattr(self, key)
            return value
        raise KeyError(f"a candle has no {key!r}; it has {', '.join(FIELDS)}")

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)

    def __contains__(self, key: object) -> bool:
        return key in FIELDS

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CandleView):
            return self.values() == other.values()
        return dict(self.items()) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a mapping, as a dict

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def keys(self) -> tuple[str, ...]:
        return FIELDS

    def values(self) -> tuple[float, ...]:
        return (self.time, self.open, self.high, self.low, self.close, self.volume)

    def items(self) -> tuple[tuple[str, float], ...]:
        return tuple(zip(FIELDS, self.values(), strict=True))

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in FIELDS else default


class Rows:
    """Candle objects, made when somebody asks for them; one list serves many evaluations."""

    __slots__ = ("made", "made_to")

    def __init__(self, made: list[CandleView | None]) -> None:
        self.made = made
        self.made_to = 0
        """All rows before this one exist."""

    def resize(self, keep: int, count: int) -> None:
        """Forget the rows from `keep` on and make room for `count`."""
        del self.made[keep:]
        self.made.extend([None] * (count - keep))
        self.made_to = min(self.made_to, keep)


class Origin:
    """Where columns come from that grow from evaluation to evaluation: a history, or an indicator.

    Its indicators go on where the evaluation before left them.
    """

    __slots__ = ("_indicators", "_path")

    def __init__(self, indicators: RunningIndicators, path: tuple[Any, ...] = ()) -> None:
        self._indicators = indicators
        self._path = path

    def answer(
        self,
        key: tuple[Any, ...],
        spec: IndicatorSpec,
        parameters: tuple[Any, ...],
        columns: tuple[Floats, ...],
    ) -> Any:
        """Return the indicator of these columns; `key` is its name and parameters."""
        return self._indicators.answer((*self._path, key), spec, parameters, columns)

    def search(
        self, key: tuple[Any, ...], spec: IndicatorSpec, parameters: tuple[Any, ...]
    ) -> tuple[Any, bool]:
        """Return the indicator's `search`, and whether the newest value is still forming."""
        return self._indicators.search((*self._path, key), spec, parameters)

    def of_output(self, key: tuple[Any, ...], output: int) -> Origin:
        """Return the origin of what is computed of an indicator's own values."""
        return Origin(self._indicators, (*self._path, key, output))


class CandleBase:
    """The first `count` rows of columns that may be longer, and cached indicators of them."""

    __slots__ = ("_columns", "_count", "_times", "cache", "has_times", "origin", "rows")

    def __init__(
        self,
        times: NDArray[np.int64],
        columns: Sequence[Floats],
        count: int,
        rows: Rows | None = None,
        *,
        has_times: bool = True,
        origin: Origin | None = None,
    ) -> None:
        """Take `columns` in the order of FIELDS without time; `rows` may be shared."""
        self._times = times
        self._columns = columns
        self._count = count
        self.rows = Rows([None] * count) if rows is None else rows
        self.has_times = has_times
        self.origin = origin
        self.cache: dict[tuple[Any, ...], Any] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def open_ms(self) -> NDArray[np.int64]:
        return self._times[: self._count]

    def column(self, name: str) -> Floats:
        return self._columns[FIELDS.index(name) - 1][: self._count]

    def part(self, key: slice) -> CandleBase:
        """Return some rows as a history of their own; `key` has limits within `count`."""
        times = np.ascontiguousarray(self._times[key])
        columns = [np.ascontiguousarray(column[key]) for column in self._columns]
        rows = Rows(self.rows.made[key])
        return CandleBase(times, columns, len(times), rows, has_times=self.has_times)

    def row(self, index: int) -> CandleView:
        row = self.rows.made[index]
        if row is None:
            values = [column.item(index) for column in self._columns]
            row = self.rows.made[index] = CandleView(self._times.item(index), *values)
        return row

    def all_rows(self, count: int) -> list[CandleView]:
        """Return the first `count` rows; those that do not exist yet are made in one go."""
        rows, start = self.rows.made, self.rows.made_to
        if start < count:
            lists = [self._times[start:count].tolist()]
            lists += [column[start:count].tolist() for column in self._columns]
            for index, values in enumerate(zip(*lists, strict=True), start):
                if rows[index] is None:
                    rows[index] = CandleView(*values)
            self.rows.made_to = count
        return cast(list[CandleView], rows[:count])


class CandleHistory:
    """Candles, oldest first, as a script sees them: `data` and its slices."""

    __slots__ = ("_base", "_length")

    def __init__(self, base: CandleBase, length: int) -> None:
        self._base = base
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        index = _index(key, self._length, "data")
        return self._base.row(index)

    def __iter__(self) -> Iterator[CandleView]:
        return iter(self._base.all_rows(self._length))

    def __repr__(self) -> str:
        return f"<{self._length} candles>"

    def _slice(self, key: slice) -> CandleHistory:
        count = self._length
        start, stop, step = _slice_indices(key, count)
        base = self._base
        if start == 0 and step == 1:
            return CandleHistory(base, max(0, stop))
        fresh = base.part(_part(start, stop, step))
        return CandleHistory(fresh, len(fresh))


class SeriesBase:
    """The values of an indicator over a whole history, and cached indicators of them."""

    __slots__ = ("cache", "origin", "values")

    def __init__(self, values: Floats, origin: Origin | None = None) -> None:
        self.values = values
        self.origin = origin
        self.cache: dict[tuple[Any, ...], Any] = {}


def _whole_refused(self: Series, *_: Any) -> NoReturn:
    raise TypeError("a series has many values; take one, like rsi[-1], or loop over them")


class Series:
    """An indicator's values, one for each candle; NaN where it is not defined yet."""

    __slots__ = ("_base", "_item", "_length")

    def __init__(self, base: SeriesBase, length: int) -> None:
        self._base = base
        self._item = base.values.item
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        return self._item(_index(key, self._length, "the series"))

    def __iter__(self) -> Iterator[float]:
        values: list[float] = self._base.values[: self._length].tolist()
        return iter(values)

    def __repr__(self) -> str:
        last = f", the last is {self[-1]}" if self._length else ""
        return f"<series of {self._length} values{last}>"

    def __format__(self, spec: str) -> str:
        if spec:
            _whole_refused(self)
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, str):
            return False
        _whole_refused(self)

    __hash__ = None  # type: ignore[assignment]  # as a list

    # Arithmetic on a whole series is a mistake of somebody who knows other languages.
    __lt__ = __le__ = __gt__ = __ge__ = _whole_refused
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _whole_refused
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _whole_refused
    __mod__ = __rmod__ = __pow__ = __rpow__ = _whole_refused
    __neg__ = __pos__ = __abs__ = __float__ = __int__ = __round__ = _whole_refused

    def _slice(self, key: slice) -> Series:
        start, stop, step = _slice_indices(key, self._length)
        if start == 0 and step == 1:
            return Series(self._base, max(0, stop))
        values = np.ascontiguousarray(self._base.values[_part(start, stop, step)])
        return Series(SeriesBase(values), len(values))


def base_of(view: CandleHistory) -> tuple[CandleBase, int]:
    """Return what stands behind a view, and how much of it the view shows."""
    return view._base, view._length


def series_base_of(view: Series) -> tuple[SeriesBase, int]:
    """Return what stands behind a series, and how much of it the series shows."""
    return view._base, view._length


def _index(key: Any, length: int, what: str) -> int:
    if type(key) is not int:
        try:
            key = operator.index(key)
        except TypeError:
            raise TypeError(
                f"the place in {what} must be a whole number, like -1, not {key!r}"
            ) from None
    index: int = key + length if key < 0 else key
    if 0 <= index < length:
        return index
    raise IndexError(f"{what} has {length} items; there is no [{key}]")


def _part(start: int, stop: int, step: int) -> slice:
    """Return limits that arrays read as `range(start, stop, step)`.

    A negative limit would count from the end of an array that may hold more than the view shows,
    even rows that nobody has written yet.
    """
    if not range(start, stop, step):
        return slice(0, 0)
    return slice(start, stop if stop >= 0 else None, step)


def _slice_indices(key: slice, length: int) -> tuple[int, int, int]:
    try:
        return key.indices(length)
    except TypeError:
        raise TypeError("the limits of a slice must be whole numbers, like [-20:]") from None
