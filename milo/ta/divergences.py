"""Divergences between price and RSI at swing points, regular and hidden, without repainting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf, isnan, nan
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, series_of, whole
from milo.ta.swings import index_of, kind_and_value, time_of
from milo.ta.zigzag import Pivot, PivotKind, Swings, ZigZag


def find_extremum_in_window(
    values: Sequence[float] | Floats, index: int, left: int, right: int, is_min: bool
) -> dict[str, Any]:
    """Return {value, index} of the smallest (largest) value from index - left to index + right.

    The window ends where the series does; NaNs are passed over; the earliest of equals counts.
    Where all are NaN, value is NaN and index None. Raises IndexError where `index` is outside the
    series and ValueError where `left` or `right` is negative.
    """
    index = whole(index, "index", minimum=0)
    if index >= len(values):
        raise IndexError(f"index {index} is outside a series of {len(values)} values")
    first = max(index - whole(left, "left", minimum=0), 0)
    stop = index + whole(right, "right", minimum=0) + 1
    window = series_of(values[first:stop]).tolist()
    defined = [value for value in window if value == value]
    if not defined:
        return {"value": nan, "index": None}
    value = min(defined) if is_min else max(defined)
    return {"value": value, "index": first + window.index(value)}


def detect_divergences(
    rsi: ArrayLike,
    zigzag_points: Sequence[Mapping[str, Any]],
    data: Any = None,
    left_window: int = 3,
    right_window: int = 0,
) -> list[dict[str, Any]]:
    """Return divergences between consecutive lows, and between consecutive peaks, oldest first.

    Compares the prices of two pivots with the RSI's extremes from `left_window` candles before to
    `right_window` after each; equal ones are no divergence, neither is one without any RSI.
    Items: type (bullish, bearish, hidden_bullish, hidden_bearish), startIndex, endIndex,
    startPrice, endPrice, startRSI, endRSI, confirmed; and startTime, endTime (ms UTC) where the
    points or `data` (Candles) know them. An item is confirmed, and then final, from candle
    max(confirmed_index of the later pivot, its index + right_window) on; before that it is there
    only as long as it holds, with `confirmed` False.
    Raises ValueError where the arguments do not fit each other.
    """
    # Nobody asks again: nothing is worth remembering.
    return DivergenceSearch(left_window, right_window).items(rsi, zigzag_points, data, 0)


class DivergenceSearch:
    """`detect_divergences` again and again: on prefixes of one RSI, or on an RSI that grows.

    A list of points that begins like one of before costs little more than its new points: what is
    final about the old ones is remembered. The answers are those of the function.
    """

    __slots__ = ("_grown", "_left", "_memories", "_right")

    def __init__(self, left_window: int = 3, right_window: int = 0) -> None:
        self._left = whole(left_window, "left_window", minimum=0)
        self._right = whole(right_window, "right_window", minimum=0)
        self._memories: list[_Memory] = []
        """Of lists that go different ways, the one used last first."""
        self._grown: list[Divergences] = []

    def items(
        self,
        rsi: ArrayLike,
        zigzag_points: Sequence[Mapping[str, Any]],
        data: Any = None,
        final_rows: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return what `detect_divergences` does.

        The first `final_rows` values of the RSI (None: all) are the same in all calls.
        """
        series = series_of(rsi, "rsi")
        count = len(series)
        if data is not None and len(data) != count:
            raise ValueError(f"rsi has {count} values, data has {len(data)} candles")
        times = getattr(data, "open_ms", None)
        final = count if final_rows is None else min(count, final_rows)
        memory, known = self._recalled(zigzag_points, final)
        record = memory.records[known - 1] if known else _NOTHING
        found = [item.copy() for item in memory.items[: record.found]]
        before, needs, may_keep = dict(record.before), record.needs, True
        for number, point in enumerate(zigzag_points[known:], known):
            pivot = _pivot_of(point, count)
            end = _End(
                pivot,
                time_of(point, times),
                _extreme_around(series, pivot, self._left, self._right),
            )
            start = before.get(pivot.kind)
            before[pivot.kind] = end
            final_at = _final_at(pivot, self._right)
            needs = max(needs, final_at)
            item = None
            if start:
                is_final = pivot.confirmed_index is not None and final_at < count
                divergence = _compared(start.pivot, start.rsi, pivot, end.rsi, is_final)
                if divergence:
                    item = divergence.item(start.time, end.time)
                    found.append(item)
            may_keep = (
                may_keep
                and needs < final
                and pivot.confirmed_index is not None
                and type(point) is dict
                and point.get("time") is not None
            )
            if may_keep:
                memory.keep(number, point, item, _Record(tuple(before.items()), needs, len(found)))
        if memory.points and memory not in self._memories[:1]:
            others = [other for other in self._memories if other is not memory]
            self._memories = [memory, *others[: _MOST_LISTS - 1]]
        return found

    def _recalled(self, points: Sequence[Mapping[str, Any]], final: int) -> tuple[_Memory, int]:
        """Return the memory that knows most of the points, or a new one, and how many it knows."""
        best, most = None, 0
        for memory in self._memories:
            known = memory.known(points, final)
            if known > most:
                best, most = memory, known
        return best or _Memory(), most

    def of_zigzag(
        self, rsi: Floats, swings: Swings, final_rows: int
    ) -> tuple[list[dict[str, Any]], int, list[dict[str, Any]]]:
        """Return what `items` says of the points of a ZigZag, as `Divergences.items` does."""
        for known in self._grown:
            if known.zigzag is swings.zigzag:
                break
        else:
            known = Divergences(swings.zigzag, self._left, self._right)
            self._grown = [known, *self._grown[: _MOST_LISTS - 1]]
        return known.items(rsi, swings, final_rows)


class _Memory:
    """What is final about the points that a list began with."""

    __slots__ = ("items", "points", "records")

    def __init__(self) -> None:
        # Three lists that are always cut before they grow, the points first and the items last,
        # and that grow in the other order: whatever breaks in leaves nothing false.
        self.points: list[dict[str, Any]] = []
        self.records: list[_Record] = []
        self.items: list[dict[str, Any]] = []

    def known(self, points: Sequence[Mapping[str, Any]], final: int) -> int:
        """Return how many of the points begin a list of before, all about them being final."""
        count = min(len(points), len(self.points))
        if not count or self.points[: count - 1] != points[: count - 1]:
            return 0
        if self.points[count - 1] != points[count - 1]:
            # As a rule: the last one was not yet final.
            count -= 1
        if not count:
            return 0
        if self.records[count - 1].needs >= final:
            count = bisect_left(self.records, final, hi=count, key=lambda record: record.needs)
        return count

    def keep(
        self, number: int, point: Mapping[str, Any], item: dict[str, Any] | None, record: _Record
    ) -> None:
        del self.points[number:], self.records[number:]
        del self.items[record.found - (item is not None) :]
        if item:
            self.items.append(item.copy())
        self.records.append(record)
        self.points.append(dict(point))


class _End(NamedTuple):
    """A pivot that a divergence may start or end at, its time and the RSI's extreme there."""

    pivot: Pivot
    time: Any
    rsi: float


class _Record(NamedTuple):
    """What is known after some points."""

    before: tuple[tuple[PivotKind, _End], ...]
    """The last of each kind."""
    needs: int
    """The index of the last candle that any of the points depends on."""
    found: int
    """How many divergences there are between them."""


_NOTHING = _Record((), 0, 0)
# A script may ask for several ZigZags of one RSI, and for the last points of one.
_MOST_LISTS = 4


def _compared(
    start: Pivot, start_rsi: float, end: Pivot, end_rsi: float, is_final: bool
) -> _Divergence | None:
    """Return the divergence between two pivots of one kind."""
    price_move = end.value - start.value
    rsi_move = end_rsi - start_rsi
    if price_move < 0.0 < rsi_move:
        name = "bullish" if end.kind is PivotKind.LOW else "hidden_bearish"
    elif rsi_move < 0.0 < price_move:
        name = "hidden_bullish" if end.kind is PivotKind.LOW else "bearish"
    else:
        return None
    if abs(rsi_move) == inf:
        return None
    return _Divergence(name, start, end, start_rsi, end_rsi, is_final)


class Divergences:
    """The divergences of an RSI and a ZigZag that grow together, for each prefix of them.

    `items` says what `detect_divergences` does, at the cost of what is new.
    """

    __slots__ = ("_found", "_left", "_records", "_right", "zigzag")

    def __init__(self, zigzag: ZigZag, left_window: int = 3, right_window: int = 0) -> None:
        """Begin without knowledge. Raises ValueError where a window is none."""
        self.zigzag = zigzag
        self._left = whole(left_window, "left_window", minimum=0)
        self._right = whole(right_window, "right_window", minimum=0)
        # As in _Memory, the divergences are cut before they grow, and the records grow last.
        self._records: list[_Final] = []
        self._found: list[dict[str, Any]] = []

    def items(
        self, rsi: Floats, swings: Swings, final_rows: int
    ) -> tuple[list[dict[str, Any]], int, list[dict[str, Any]]]:
        """Return a list, how many of its first items belong to the answer, and those behind them.

        `rsi` has as many values as `swings` has candles; the first `final_rows` of them are the
        same in all calls. The list and its items are not to be changed.
        """
        self._learn(rsi, swings, min(len(rsi), final_rows))
        pivots, points = self.zigzag.pivots, swings.points
        done = bisect_left(self._records, (swings.rows,))
        newest = []
        for number in range(max(done, 2), swings.confirmed):
            start, end = pivots[number - 2], pivots[number]
            is_final = self._final_at(end) < swings.rows
            end_rsi = self._extreme(rsi, end)
            found = _compared(start, self._rsi_at(number - 2, done, rsi), end, end_rsi, is_final)
            if found:
                newest.append(found.item(points[number - 2]["time"], points[number]["time"]))
        last, point, number = swings.last, swings.newest, swings.confirmed
        if last is not None and point is not None and number >= 2:
            start_rsi = self._rsi_at(number - 2, done, rsi)
            last_rsi = self._extreme(rsi, last)
            found = _compared(pivots[number - 2], start_rsi, last, last_rsi, False)
            if found:
                newest.append(found.item(points[number - 2]["time"], point["time"]))
        return self._found, self._records[done - 1].found if done else 0, newest

    def _learn(self, rsi: Floats, swings: Swings, final: int) -> None:
        """Note what has become final."""
        pivots, points, records = self.zigzag.pivots, swings.points, self._records
        for number in range(len(records), swings.confirmed):
            pivot = pivots[number]
            final_at = self._final_at(pivot)
            if final_at >= final:
                return
            extreme = self._extreme(rsi, pivot)
            count = records[-1].found if records else 0
            del self._found[count:]
            # Peaks and lows alternate: the pivot before of the same kind is two places earlier.
            if number >= 2:
                start = pivots[number - 2]
                found = _compared(start, records[number - 2].rsi, pivot, extreme, True)
                if found:
                    count += 1
                    self._found.append(
                        found.item(points[number - 2]["time"], points[number]["time"])
                    )
            records.append(_Final(final_at, count, extreme))

    def _rsi_at(self, number: int, done: int, rsi: Floats) -> float:
        if number < done:
            return self._records[number].rsi
        return self._extreme(rsi, self.zigzag.pivots[number])

    def _final_at(self, pivot: Pivot) -> int:
        return _final_at(pivot, self._right)

    def _extreme(self, rsi: Floats, pivot: Pivot) -> float:
        return _extreme_around(rsi, pivot, self._left, self._right)


class _Final(NamedTuple):
    """What is final about a pivot."""

    at: int
    """The candle from which on it is."""
    found: int
    """How many divergences there are up to this pivot."""
    rsi: float
    """The RSI's extreme around it."""


class _Divergence(NamedTuple):
    name: str
    start: Pivot
    end: Pivot
    start_rsi: float
    end_rsi: float
    is_final: bool

    def item(self, start_time: Any = None, end_time: Any = None) -> dict[str, Any]:
        item = {
            "type": self.name,
            "startIndex": self.start.index,
            "endIndex": self.end.index,
            "startPrice": self.start.value,
            "endPrice": self.end.value,
            "startRSI": self.start_rsi,
            "endRSI": self.end_rsi,
            "confirmed": self.is_final,
        }
        if start_time is not None and end_time is not None:
            item["startTime"], item["endTime"] = start_time, end_time
        return item


def _final_at(pivot: Pivot, right: int) -> int:
    """Return the candle from which on nothing about a confirmed pivot can change."""
    return max(pivot.confirmed_index or 0, pivot.index + right)


def _extreme_around(rsi: Floats, pivot: Pivot, left: int, right: int) -> float:
    """Return the RSI's extreme around a pivot; infinite where there is no RSI at all."""
    window = rsi[max(pivot.index - left, 0) : pivot.index + right + 1].tolist()
    if isnan(sum(window)):
        window = [value for value in window if value == value]
    if pivot.kind is PivotKind.LOW:
        return min(window, default=inf)
    return max(window, default=-inf)


def _pivot_of(point: Mapping[str, Any], count: int) -> Pivot:
    kind, value = kind_and_value(point)
    index = index_of(point)
    if not 0 <= index < count:
        raise ValueError(f"rsi has {count} values, but a pivot is at {index}")
    confirmed_index = point.get("confirmed_index")
    if confirmed_index is not None and confirmed_index >= count:
        raise ValueError(f"rsi has {count} values, but a pivot was confirmed at {confirmed_index}")
    return Pivot(index, kind, value, confirmed_index)
