"""What scripts get to read: candles and indicator series that cannot be changed (layer 1).

Items are plain Python numbers, never array scalars. A prefix (`data[:n]`, `rsi[:n]`) is a view of
the same base, so that an indicator is computed once for the whole and cut for each prefix; every
other slice is a series of its own, whose indicators start afresh.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
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


class ColumnsView(CandleView):
    """A candle that reads a number when it is asked for: most are asked for one or two."""

    __slots__ = ("_at", "_from")

    def __init__(self, columns: Sequence[memoryview], index: int) -> None:
        self._from = columns
        self._at = index

    @property
    def time(self) -> int:  # type: ignore[override]
        return self._from[0][self._at]

    @property
    def open(self) -> float:  # type: ignore[override]
        return self._from[1][self._at]

    @property
    def high(self) -> float:  # type: ignore[override]
        return self._from[2][self._at]

    @property
    def low(self) -> float:  # type: ignore[override]
        return self._from[3][self._at]

    @property
    def close(self) -> float:  # type: ignore[override]
        return self._from[4][self._at]

    @property
    def volume(self) -> float:  # type: ignore[override]
        return self._from[5][self._at]


_MOST_ROWS: Final = 50_000
"""Candle objects that are kept for the next one who asks."""
_ROWS_A_CHUNK: Final = 4096


class Rows:
    """Candle objects, made when somebody asks for them; one list serves many evaluations."""

    __slots__ = ("count", "made", "made_to")

    def __init__(self, made: list[CandleView | None]) -> None:
        self.made = made
        self.made_to = 0
        """All rows before this one exist, with all their numbers at hand."""
        self.count = 0
        """How many were made one by one."""

    def resize(self, keep: int, count: int) -> None:
        """Forget the rows from `keep` on and make room for `count`."""
        del self.made[keep:]
        self.made.extend([None] * (count - keep))
        self.made_to = min(self.made_to, keep)

    def keep(self, index: int, row: CandleView) -> None:
        """Keep a row; those that were made before are forgotten where they are too many."""
        if self.count >= _MOST_ROWS:
            self.made[:] = [None] * len(self.made)
            self.made_to = self.count = 0
        self.count += 1
        self.made[index] = row


class Computed:
    """Results of indicators, and how many numbers they and those made from them hold."""

    __slots__ = ("calls", "found", "tally")

    def __init__(self, tally: list[int]) -> None:
        self.found: dict[tuple[Any, ...], Any] = {}
        self.calls: dict[str, dict[tuple[int, ...], Any]] = {}
        """Of each indicator, by the numbers that follow the data: what makes the answer."""
        self.tally = tally
        """One number, shared by all that hangs on the same candles."""


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

    def forget(self) -> None:
        """Drop all indicators of the history; the next ones begin anew."""
        self._indicators.forget()

    def of_output(self, key: tuple[Any, ...], output: int) -> Origin:
        """Return the origin of what is computed of an indicator's own values."""
        return Origin(self._indicators, (*self._path, key, output))


class CandleBase:
    """The first `count` rows of columns that may be longer, and cached indicators of them."""

    __slots__ = (
        "_columns", "_count", "_times", "_views", "computed", "has_times", "origin", "rows",
    )  # fmt: skip

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
        self._views: list[memoryview] = []
        self.computed = Computed([0])

    def __len__(self) -> int:
        return self._count

    @property
    def open_ms(self) -> NDArray[np.int64]:
        return self._times[: self._count]

    def column(self, name: str) -> Floats:
        return self._columns[FIELDS.index(name) - 1][: self._count]

    def forget(self) -> None:
        """Drop the results of indicators; who holds one keeps it."""
        self.computed = Computed([0])
        if self.origin is not None:
            self.origin.forget()

    def part(self, places: range) -> CandleBase:
        """Return the rows at some places as a history of their own."""
        return CandlePart(self, places)

    def row(self, index: int) -> CandleView:
        row = self.rows.made[index]
        if row is None:
            if not self._views:
                self._views = [self._times.data, *(column.data for column in self._columns)]
            row = ColumnsView(self._views, index)
            self.rows.keep(index, row)
        return row

    def all_rows(self, count: int) -> Iterator[CandleView]:
        """Return the first `count` rows; those that do not exist yet are made in one go."""
        if count > _MOST_ROWS:
            starts = range(0, count, _ROWS_A_CHUNK)
            return chain.from_iterable(
                map(lambda first: self._rows(first, min(first + _ROWS_A_CHUNK, count)), starts)
            )
        rows, start = self.rows.made, self.rows.made_to
        if start < count:
            rows[start:count] = self._rows(start, count)
            self.rows.made_to = count
        return iter(cast(list[CandleView], rows[:count]))

    def rows_at(self, places: range) -> list[CandleView]:
        """Return some rows, with all their numbers at hand where they have to be made."""
        made, make = self.rows.made, self._full_row
        return [row if (row := made[place]) is not None else make(place) for place in places]

    def _full_row(self, place: int) -> CandleView:
        values = [column.item(place) for column in self._columns]
        row = CandleView(self._times.item(place), *values)
        self.rows.keep(place, row)
        return row

    def _rows(self, start: int, count: int) -> list[CandleView]:
        lists = [self._times[start:count].tolist()]
        lists += [column[start:count].tolist() for column in self._columns]
        return [CandleView(*values) for values in zip(*lists, strict=True)]


class CandlePart(CandleBase):
    """Some rows of a history, as a history of their own; its columns are made when asked for."""

    __slots__ = ("_places", "_whole")

    def __init__(self, whole: CandleBase, places: range) -> None:
        super().__init__(_NO_TIMES, (), len(places), whole.rows, has_times=whole.has_times)
        self._whole = whole
        self._places = places

    @property
    def open_ms(self) -> NDArray[np.int64]:
        return np.ascontiguousarray(self._whole.open_ms[_slice_of(self._places)])

    def column(self, name: str) -> Floats:
        return np.ascontiguousarray(self._whole.column(name)[_slice_of(self._places)])

    def part(self, places: range) -> CandleBase:
        return CandlePart(self._whole, self._places[_slice_of(places)])

    def row(self, index: int) -> CandleView:
        return self._whole.row(self._places[index])

    def all_rows(self, count: int) -> Iterator[CandleView]:
        return iter(self._whole.rows_at(self._places[:count]))


_NO_TIMES: Final = np.empty(0, dtype=np.int64)


class CandleHistory:
    """Candles, oldest first, as a script sees them: `data` and its slices."""

    __slots__ = ("_base", "_length")

    def __init__(self, base: CandleBase, length: int) -> None:
        self._base = base
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if type(key) is int:
            index = key + self._length if key < 0 else key
            if 0 <= index < self._length:
                return self._base.row(index)
        if isinstance(key, slice):
            return self._slice(key)
        return self._base.row(_index(key, self._length, "data"))

    def __iter__(self) -> Iterator[CandleView]:
        return self._base.all_rows(self._length)

    def __repr__(self) -> str:
        return f"<{self._length} candles>"

    def _slice(self, key: slice) -> CandleHistory:
        count = self._length
        start, stop, step = _slice_indices(key, count)
        base = self._base
        if start == 0 and step == 1:
            return CandleHistory(base, max(0, stop))
        fresh = base.part(range(start, stop, step))
        return CandleHistory(fresh, len(fresh))


class SeriesBase:
    """The values of an indicator over a whole history, and cached indicators of them."""

    __slots__ = ("computed", "origin", "values", "view")

    def __init__(
        self, values: Floats, tally: list[int] | None = None, origin: Origin | None = None
    ) -> None:
        """Take the values; `tally` is that of the candles which they come from."""
        self.values = values
        self.origin = origin
        self.view = values.data
        """The same, of which items are plain numbers at once."""
        self.computed = Computed([0] if tally is None else tally)


def _whole_refused(self: Series, *_: Any) -> NoReturn:
    raise TypeError("a series has many values; take one, like rsi[-1], or loop over them")


class Series:
    """An indicator's values, one for each candle; NaN where it is not defined yet."""

    __slots__ = ("_base", "_length", "_view")

    def __init__(self, base: SeriesBase, length: int) -> None:
        self._base = base
        self._length = length
        self._view = base.view[:length]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if type(key) is int:
            try:
                return self._view[key]
            except IndexError:
                pass
        if isinstance(key, slice):
            return self._slice(key)
        return self._view[_index(key, self._length, "the series")]

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
        values = np.ascontiguousarray(self._base.values[_slice_of(range(start, stop, step))])
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


def _slice_of(places: range) -> slice:
    """Return limits that arrays read as these places.

    A negative limit would count from the end of an array that may hold more than the view shows,
    even rows that nobody has written yet.
    """
    if not places:
        return slice(0, 0)
    stop = places.stop
    return slice(places.start, stop if stop >= 0 else None, places.step)


def _slice_indices(key: slice, length: int) -> tuple[int, int, int]:
    try:
        return key.indices(length)
    except TypeError:
        raise TypeError("the limits of a slice must be whole numbers, like [-20:]") from None
