"""ZigZag that never repaints: swing points of closes, each with the candle that confirmed it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milo.ta.arguments import Floats, number, series_of

DEFAULT_FACTOR = 2.2


class PivotKind(StrEnum):
    """The side of a swing point."""

    PEAK = "peak"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Pivot:
    """A swing point of closes; `confirmed_index` is None while it is the running extreme."""

    index: int
    kind: PivotKind
    value: float
    confirmed_index: int | None


class SwingPoint(TypedDict):
    """A pivot as scripts see it; `time` is the candle's open time in ms UTC, None if unknown."""

    index: int
    time: int | None
    value: float
    type: str
    confirmed: bool
    confirmed_index: int | None


class ZigZag:
    """All swing points of a series of closes, for the series and for each of its prefixes.

    A leg reverses at the first candle whose close has moved against the leg's extreme by more
    than the threshold, in percent of that extreme; the extreme is then a confirmed pivot and stays
    one. Among equal closes the earliest is the extreme. Pivots alternate between peaks and lows,
    and each is the extreme of the closes since the one before; a leg may dip below its own start,
    by less than the threshold. Until a first leg has been confirmed there is no point at all.
    """

    __slots__ = ("_close", "_confirmed_at", "_pivots", "_points")

    def __init__(self, close: Floats, thresholds: Floats) -> None:
        """Find the pivots of checked closes; `thresholds` are in percent, one for each close."""
        self._close = close
        self._pivots = _find_pivots(close.tolist(), thresholds.tolist())
        self._points: list[SwingPoint] | None = None
        self._confirmed_at = [pivot.confirmed_index or 0 for pivot in self._pivots]

    def __len__(self) -> int:
        return len(self._close)

    @property
    def pivots(self) -> list[Pivot]:
        """The confirmed pivots of the whole series, oldest first; not to be changed."""
        return self._pivots

    def confirmed_count(self, count: int) -> int:
        """Return how many pivots the first `count` candles confirm: a prefix of `pivots`."""
        return bisect_left(self._confirmed_at, count)

    def provisional(self, count: int) -> Pivot | None:
        """Return the running extreme as of the first `count` candles; None before the first leg."""
        confirmed = self.confirmed_count(count)
        if not confirmed:
            return None
        last = self._pivots[confirmed - 1]
        first = last.index + 1
        since = self._close[first:count]
        if last.kind is PivotKind.LOW:
            kind, index = PivotKind.PEAK, first + int(since.argmax())
        else:
            kind, index = PivotKind.LOW, first + int(since.argmin())
        return Pivot(index, kind, float(self._close[index]), None)

    def points(
        self, count: int | None = None, open_ms: NDArray[np.int64] | None = None
    ) -> list[SwingPoint]:
        """Return the swing points of the first `count` candles (None: all), oldest first.

        Only the last one, the running extreme, is provisional. `open_ms` gives their times. The
        items are new ones at each call. Raises ValueError where there are fewer candles or times.
        """
        count = len(self._close) if count is None else count
        if not 0 <= count <= len(self._close):
            raise ValueError(f"a prefix of {count} of {len(self._close)} candles does not exist")
        if open_ms is not None and len(open_ms) < count:
            raise ValueError(f"{len(open_ms)} times for {count} candles")
        if self._points is None:
            self._points = [_point_of(pivot) for pivot in self._pivots]
        points = self._points[: self.confirmed_count(count)]
        last = self.provisional(count)
        if last is not None:
            points.append(_point_of(last))
        if open_ms is None:
            return [point.copy() for point in points]
        times = open_ms[[point["index"] for point in points]].tolist() if points else []
        return [{**point, "time": time} for point, time in zip(points, times, strict=True)]


def _point_of(pivot: Pivot) -> SwingPoint:
    return {
        "index": pivot.index,
        "time": None,
        "value": pivot.value,
        "type": pivot.kind.value,
        "confirmed": pivot.confirmed_index is not None,
        "confirmed_index": pivot.confirmed_index,
    }


def zigzag(
    close: ArrayLike, threshold: float | None = None, factor: float = DEFAULT_FACTOR
) -> ZigZag:
    """Return the swing points of closes (prices: positive numbers).

    `threshold` is in percent of price: 1.5 means that a leg reverses once the close has moved by
    more than 1.5 % against it. None: at each candle, `factor` times the mean absolute move of
    closes, in percent, up to and including that candle. Raises ValueError where a number is
    negative or not finite.
    """
    series = series_of(close, "close")
    factor = number(factor, "factor")
    if threshold is None:
        return ZigZag(series, _moving_thresholds(series, factor))
    return ZigZag(series, np.full(len(series), number(threshold, "threshold")))


def _moving_thresholds(close: Floats, factor: float) -> Floats:
    """Return factor x the mean absolute move up to each close, in percent of the close before it.

    A move from a close that is not a price (0 or less) has no percentage and counts as 0.
    """
    thresholds = np.zeros(len(close))
    before = close[:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        moves = np.abs(np.diff(close)) * 100.0
        moves = np.divide(moves, before, out=np.zeros_like(moves), where=before > 0.0)
        thresholds[1:] = np.cumsum(moves) / np.arange(1, len(close)) * factor
    return thresholds


def _find_pivots(closes: list[float], thresholds: list[float]) -> list[Pivot]:
    pivots: list[Pivot] = []
    start = _first_leg(closes, thresholds, pivots)
    if start is None:
        return pivots
    is_up, at = _confirm_reversals(closes, thresholds[start], pivots, start)
    extreme = closes[at]
    # The one loop over all candles: `_is_reversal` is written out, a call would double its time.
    for i in range(start + 1, len(closes)):
        close = closes[i]
        move = extreme - close if is_up else close - extreme
        if move < 0.0:
            extreme, at = close, i
            continue
        if not (move * 100.0 / extreme > thresholds[i] if extreme > 0.0 else move > 0.0):
            continue
        pivots.append(Pivot(at, PivotKind.PEAK if is_up else PivotKind.LOW, extreme, i))
        is_up, at = _confirm_reversals(closes, thresholds[i], pivots, i)
        extreme = closes[at]
    return pivots


def _first_leg(closes: list[float], thresholds: list[float], pivots: list[Pivot]) -> int | None:
    """Append the first pivot and return the index that confirms it; None if there is none."""
    high = low = 0
    for i in range(1, len(closes)):
        close = closes[i]
        if close > closes[high]:
            high = i
        elif close < closes[low]:
            low = i
        rose = _is_reversal(close - closes[low], closes[low], thresholds[i])
        fell = _is_reversal(closes[high] - close, closes[high], thresholds[i])
        if not (rose or fell):
            continue
        # Both at once where the threshold has fallen meanwhile: then the older extreme is first.
        if rose and (not fell or low < high):
            pivots.append(Pivot(low, PivotKind.LOW, closes[low], i))
        else:
            pivots.append(Pivot(high, PivotKind.PEAK, closes[high], i))
        return i
    return None


def _confirm_reversals(
    closes: list[float], threshold: float, pivots: list[Pivot], i: int
) -> tuple[bool, int]:
    """Start the leg after the pivot that candle `i` confirmed: (is it up, index of its extreme).

    The extreme may lie before candle `i`, where the threshold was higher at that time. Candle `i`
    may even confirm that one as well; then this goes on with the leg after it.
    """
    while True:
        last = pivots[-1]
        since = closes[last.index + 1 : i + 1]
        is_up = last.kind is PivotKind.LOW
        extreme = max(since) if is_up else min(since)
        at = last.index + 1 + since.index(extreme)
        move = extreme - closes[i] if is_up else closes[i] - extreme
        if not _is_reversal(move, extreme, threshold):
            return is_up, at
        pivots.append(Pivot(at, PivotKind.PEAK if is_up else PivotKind.LOW, extreme, i))


def _is_reversal(move: float, extreme: float, threshold: float) -> bool:
    """Say whether a move away from the extreme exceeds the threshold, in percent of the extreme.

    Divided like the moving threshold itself, so that a move that equals it is not taken for more.
    From an extreme that is not a price any move at all is more.
    """
    return move * 100.0 / extreme > threshold if extreme > 0.0 else move > 0.0
