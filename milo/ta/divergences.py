"""Divergences between price and RSI at swing points, regular and hidden, without repainting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf, isnan, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milo.ta.arguments import Floats, series_of, whole
from milo.ta.swings import index_of, kind_and_value, time_of
from milo.ta.windows import window_max, window_min
from milo.ta.zigzag import Pivot, PivotKind, ZigZag


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

    __slots__ = ("_left", "_memories", "_right")

    def __init__(self, left_window: int = 3, right_window: int = 0) -> None:
        self._left = whole(left_window, "left_window", minimum=0)
        self._right = whole(right_window, "right_window", minimum=0)
        self._memories: list[_Memory] = []
        """Of lists that go different ways, the one used last first."""

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
            end = _End(pivot, time_of(point, times), self._extreme(series, pivot))
            start = before.get(pivot.kind)
            before[pivot.kind] = end
            needs = max(needs, self._final_at(pivot), pivot.index + self._right)
            item = None
            if start:
                is_final = pivot.confirmed_index is not None and self._final_at(pivot) < count
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

    def _final_at(self, pivot: Pivot) -> int:
        """Return the candle from which on nothing about a confirmed pivot can change."""
        return max(pivot.confirmed_index or 0, pivot.index + self._right)

    def _extreme(self, series: Floats, pivot: Pivot) -> float:
        """Return the RSI's extreme around a pivot; infinite where there is no RSI at all."""
        first, stop = max(pivot.index - self._left, 0), pivot.index + self._right + 1
        window = series[first:stop].tolist()
        if isnan(sum(window)):
            window = [value for value in window if value == value]
        if pivot.kind is PivotKind.LOW:
            return min(window, default=inf)
        return max(window, default=-inf)


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
    """The divergences of an RSI and a ZigZag of the same candles, for each prefix of them.

    `items(n)` is what `detect_divergences` says of the first n candles, at the cost of the items.
    """

    def __init__(
        self, rsi: ArrayLike, zigzag: ZigZag, left_window: int = 3, right_window: int = 0
    ) -> None:
        """Find them all. Raises ValueError where RSI and ZigZag differ in length."""
        series = series_of(rsi, "rsi")
        if len(series) != len(zigzag):
            raise ValueError(f"rsi has {len(series)} values, the ZigZag has {len(zigzag)} candles")
        self._zigzag = zigzag
        self._spans = _Spans(series, left_window, right_window)
        self._final_at = [self._spans.final_at(pivot) for pivot in zigzag.pivots]
        final = range(2, bisect_left(self._final_at, len(series)))
        compared = [self._compare_with_last(number, len(series)) for number in final]
        self._final = [divergence for divergence in compared if divergence]
        # How many divergences are final once the first k pivots are: a list over k.
        counts = np.cumsum([0, 0, 0, *(divergence is not None for divergence in compared)])
        self._final_counts: list[int] = counts.tolist()

    def items(self, count: int, open_ms: NDArray[np.int64] | None = None) -> list[dict[str, Any]]:
        """Return the divergences as of the first `count` candles; new items at each call."""
        pivots = self._zigzag.pivots
        finished = bisect_left(self._final_at, count)
        found = self._final[: self._final_counts[finished]]
        confirmed = self._zigzag.confirmed_count(count)
        open_ones = [self._compare_with_last(k, count) for k in range(finished, confirmed)]
        last = self._zigzag.provisional(count)
        if last is not None and confirmed >= 2:
            open_ones.append(self._spans.compare(pivots[confirmed - 2], last, count))
        found.extend(divergence for divergence in open_ones if divergence)
        if open_ms is None:
            return [divergence.item() for divergence in found]
        return [
            divergence.item(
                int(open_ms[divergence.start.index]), int(open_ms[divergence.end.index])
            )
            for divergence in found
        ]

    def _compare_with_last(self, number: int, count: int) -> _Divergence | None:
        """Peaks and lows alternate: the pivot before of the same kind is two places earlier."""
        if number < 2:
            return None
        pivots = self._zigzag.pivots
        return self._spans.compare(pivots[number - 2], pivots[number], count)


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


class _Spans:
    """The RSI's extremes around any candle; those of whole windows are computed once for all."""

    def __init__(self, rsi: Floats, left_window: int, right_window: int) -> None:
        self._left = whole(left_window, "left_window", minimum=0)
        self._right = whole(right_window, "right_window", minimum=0)
        self._rsi = rsi
        self._highest = self._whole_windows(-inf)
        self._lowest = self._whole_windows(inf)

    def final_at(self, pivot: Pivot) -> int:
        """Return the candle from which on nothing about a confirmed pivot can change."""
        return max(pivot.confirmed_index or 0, pivot.index + self._right)

    def compare(self, start: Pivot, end: Pivot, count: int) -> _Divergence | None:
        """Return the divergence between two pivots of one kind, as of the first `count` candles."""
        start_rsi, end_rsi = self._extreme(start, count), self._extreme(end, count)
        is_final = end.confirmed_index is not None and self.final_at(end) < count
        return _compared(start, start_rsi, end, end_rsi, is_final)

    def _extreme(self, pivot: Pivot, count: int) -> float:
        """Return the RSI's extreme around a pivot; infinite where there is no RSI at all."""
        is_low = pivot.kind is PivotKind.LOW
        if pivot.index + self._right < count:
            return float((self._lowest if is_low else self._highest)[pivot.index])
        window = self._rsi[max(pivot.index - self._left, 0) : count].tolist()
        defined = [value for value in window if value == value]
        if is_low:
            return min(defined, default=inf)
        return max(defined, default=-inf)

    def _whole_windows(self, nothing: float) -> Floats:
        """Return the extreme around each candle that has all of its window's right side."""
        width = self._left + self._right + 1
        padded = np.full(self._left + len(self._rsi), nothing)
        padded[self._left :] = np.where(np.isnan(self._rsi), nothing, self._rsi)
        extreme = window_min if nothing > 0 else window_max
        return extreme(padded, width)[width - 1 :]


def _pivot_of(point: Mapping[str, Any], count: int) -> Pivot:
    kind, value = kind_and_value(point)
    index = index_of(point)
    if not 0 <= index < count:
        raise ValueError(f"rsi has {count} values, but a pivot is at {index}")
    confirmed_index = point.get("confirmed_index")
    if confirmed_index is not None and confirmed_index >= count:
        raise ValueError(f"rsi has {count} values, but a pivot was confirmed at {confirmed_index}")
    return Pivot(index, kind, value, confirmed_index)
