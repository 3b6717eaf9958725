"""ZigZag that never repaints: swing points of closes, each with the candle that confirmed it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milo.ta.arguments import Floats, number, series_of

DEFAULT_FACTOR = 2.2

# So many closes are quicker in a loop than in arrays.
_FEW_ROWS = 8


class PivotKind(StrEnum):
    """The side of a swing point."""

    PEAK = "peak"
    LOW = "low"


_PEAK, _LOW = PivotKind.PEAK, PivotKind.LOW


@dataclass(slots=True)
class Pivot:
    """A swing point of closes; `confirmed_index` is None while it is the running extreme.

    Not frozen only because that would triple the time to make one; nobody changes it.
    """

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


class Mark(NamedTuple):
    """A place in the life of a ZigZag to which it can go back."""

    close: Floats
    total_move: float
    leg: tuple[int, int, bool | None, int]
    pivot_count: int


class ZigZag:
    """All swing points of a series of closes, for the series and for each of its prefixes.

    A leg reverses at the first candle whose close has moved against the leg's extreme by more
    than the threshold, in percent of that extreme; the extreme is then a confirmed pivot and stays
    one. Among equal closes the earliest is the extreme. Pivots alternate between peaks and lows,
    and each is the extreme of the closes since the one before; a leg may dip below its own start,
    by less than the threshold. Until a first leg has been confirmed there is no point at all.
    """

    __slots__ = (
        "_close", "_confirmed_at", "_labelled", "_leg", "_pivots", "_places", "_points",
        "_running", "_thresholds", "_timed",
    )  # fmt: skip

    def __init__(self, threshold: float | None, factor: float) -> None:
        """Begin without closes; the numbers are checked ones, of `zigzag`."""
        self._thresholds = _Thresholds(threshold, factor)
        self._close = np.empty(0)
        self._leg = _Leg()
        self._pivots: list[Pivot] = []
        self._confirmed_at: list[int] = []
        self._places = array("q")
        self._points: list[SwingPoint] = []
        self._timed: list[SwingPoint] = []
        self._labelled: list[dict[str, Any]] = []
        self._running = (0, 0, 0)

    def __len__(self) -> int:
        return len(self._close)

    def extend(self, close: Floats) -> None:
        """Go on to the end of `close`: the closes so far, and new ones behind them."""
        known = len(self._close)
        thresholds = self._thresholds.following(close, known)
        self._close = close
        self._leg.follow(close, known, thresholds, self._pivots)
        for pivot in self._pivots[len(self._confirmed_at) :]:
            self._confirmed_at.append(pivot.confirmed_index or 0)
            self._places.append(pivot.index)

    def mark(self) -> Mark:
        """Return what `rewind` needs to come back to the closes of now."""
        return Mark(self._close, self._thresholds.total, self._leg.state(), len(self._pivots))

    def rewind(self, mark: Mark) -> None:
        """Forget the closes that came after a mark."""
        self._close, self._thresholds.total, leg, count = mark
        self._leg.restore(leg)
        self._running = (0, 0, 0)
        for found in (
            self._pivots, self._confirmed_at, self._places,
            self._points, self._timed, self._labelled,
        ):  # fmt: skip
            del found[count:]

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
        is_up = last.kind is PivotKind.LOW
        index = self._extreme_since(last.index + 1, count, is_up=is_up)
        return Pivot(index, _PEAK if is_up else _LOW, self._close.item(index), None)

    def _extreme_since(self, first: int, count: int, *, is_up: bool) -> int:
        """Return the place of the leg's extreme; a leg may be long, so its beginning is known."""
        start, seen, at = self._running
        if start != first or count < seen:
            seen, at = first, first
        coming = self._close[seen:count]
        if len(coming):
            best = seen + int(coming.argmax() if is_up else coming.argmin())
            value, known = self._close.item(best), self._close.item(at)
            # A NaN is the extreme for good, as numpy has it.
            if known == known and not (value <= known if is_up else value >= known):
                at = best
            self._running = (first, count, at)
        return at

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
        confirmed = self.confirmed_count(count)
        made = len(self._points)
        if made < confirmed:
            self._points += [_point_of(pivot) for pivot in self._pivots[made:confirmed]]
        points = [point.copy() for point in self._points[:confirmed]]
        last = self.provisional(count)
        if last is not None:
            points.append(_point_of(last))
        if open_ms is not None and last is not None:
            places = np.frombuffer(self._places, dtype=np.int64)[:confirmed]
            times = [*open_ms[places].tolist(), open_ms.item(last.index)]
            for point, time in zip(points, times, strict=True):
                point["time"] = time
        return points

    def swings(self, count: int, open_ms: NDArray[np.int64]) -> Swings:
        """Return what `points` does, at the cost of what is new: its first part is shared.

        `open_ms` is the same at each call, but for what has come.
        """
        confirmed = self.confirmed_count(count)
        made = len(self._timed)
        if made < confirmed:
            self._timed += [
                _point_of(pivot, open_ms.item(pivot.index))
                for pivot in self._pivots[made:confirmed]
            ]
        last = self.provisional(count)
        newest = None if last is None else _point_of(last, open_ms.item(last.index))
        return Swings(self, count, confirmed, self._timed, self._labelled, last, newest)


class Swings(NamedTuple):
    """The swing points of a prefix of a ZigZag; nothing of them is to be changed."""

    zigzag: ZigZag
    rows: int
    """How many candles there are."""
    confirmed: int
    """How many of `points` they confirm: the first ones. The others came later."""
    points: list[SwingPoint]
    labelled: list[dict[str, Any]]
    """The same with their labels, as far as somebody has asked for them (see milo.ta.swings)."""
    last: Pivot | None
    """The running extreme."""
    newest: SwingPoint | None
    """The same as scripts see it."""


def _point_of(pivot: Pivot, time: int | None = None) -> SwingPoint:
    return {
        "index": pivot.index,
        "time": time,
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
    found = ZigZag(None if threshold is None else number(threshold, "threshold"), factor)
    found.extend(series)
    return found


class _Thresholds:
    """How far the close must move against a leg, in percent, at each candle."""

    __slots__ = ("_factor", "_fixed", "total")

    def __init__(self, fixed: float | None, factor: float) -> None:
        self._fixed = fixed
        self._factor = factor
        self.total = 0.0
        """The sum of the absolute moves so far, in percent."""

    def following(self, close: Floats, known: int) -> list[float]:
        """Return the thresholds of the closes from `known` on.

        Moving ones are factor x the mean absolute move up to each close, in percent of the close
        before it. A move from a close that is not a price (0 or less) has no percentage and counts
        as 0.
        """
        if self._fixed is not None:
            return [self._fixed] * (len(close) - known)
        first = max(known, 1)
        if known and len(close) - known <= _FEW_ROWS:
            return [self._next(close, index) for index in range(known, len(close))]
        before = close[first - 1 : -1]
        with np.errstate(over="ignore", invalid="ignore"):
            moves = np.abs(np.diff(close[first - 1 :])) * 100.0
            moves = np.divide(moves, before, out=np.zeros_like(moves), where=before > 0.0)
            if len(moves):
                moves[0] += self.total
            totals = np.cumsum(moves)
            means = totals / np.arange(first, len(close)) * self._factor
        thresholds: list[float] = means.tolist()
        if len(moves):
            self.total = totals.item(-1)
        # The first close has no move.
        return thresholds if known or not len(close) else [0.0, *thresholds]

    def _next(self, close: Floats, index: int) -> float:
        """Return the threshold of one close; the same arithmetic without arrays."""
        before = close.item(index - 1)
        if before > 0.0:
            self.total += abs(close.item(index) - before) * 100.0 / before
        return self.total / index * self._factor


class _Leg:
    """Where the search for pivots stands: before the first leg, or in one."""

    __slots__ = ("_at", "_high", "_is_up", "_low")

    def __init__(self) -> None:
        self._high = self._low = 0
        self._is_up: bool | None = None
        """None before the first leg."""
        self._at = 0
        """The index of the leg's extreme so far."""

    def state(self) -> tuple[int, int, bool | None, int]:
        return self._high, self._low, self._is_up, self._at

    def restore(self, state: tuple[int, int, bool | None, int]) -> None:
        self._high, self._low, self._is_up, self._at = state

    def follow(
        self, close: Floats, known: int, thresholds: list[float], pivots: list[Pivot]
    ) -> None:
        """Go through the closes from `known` on and append the pivots that they confirm."""
        coming = close[known:].tolist()
        if self._is_up is None:
            used = self._find_first(close, known, coming, thresholds, pivots)
            if self._is_up is None:
                return
            known, coming, thresholds = known + used, coming[used:], thresholds[used:]
        is_up, at = self._is_up, self._at
        extreme = close.item(at)
        candles = zip(range(known, len(close)), coming, thresholds, strict=True)
        # The one loop over all candles: `_is_reversal` is written out, a call would double its
        # time.
        for i, value, threshold in candles:
            move = extreme - value if is_up else value - extreme
            if move < 0.0:
                extreme, at = value, i
                continue
            if not (move * 100.0 / extreme > threshold if extreme > 0.0 else move > 0.0):
                continue
            pivots.append(Pivot(at, _PEAK if is_up else _LOW, extreme, i))
            is_up, at, extreme = _confirm_reversals(close, threshold, pivots, i)
        self._is_up, self._at = is_up, at

    def _find_first(
        self,
        close: Floats,
        known: int,
        coming: list[float],
        thresholds: list[float],
        pivots: list[Pivot],
    ) -> int:
        """Search the first leg; append its pivot where there is one. Return how many were used."""
        if not len(close):
            return 0
        high, low = close.item(self._high), close.item(self._low)
        for used, (value, threshold) in enumerate(zip(coming, thresholds, strict=True)):
            i = known + used
            if value > high:
                high, self._high = value, i
            elif value < low:
                low, self._low = value, i
            rose = _is_reversal(value - low, low, threshold)
            fell = _is_reversal(high - value, high, threshold)
            if not (rose or fell):
                continue
            # Both at once where the threshold has fallen meanwhile: then the older extreme is
            # first.
            if rose and (not fell or self._low < self._high):
                pivots.append(Pivot(self._low, _LOW, low, i))
            else:
                pivots.append(Pivot(self._high, _PEAK, high, i))
            self._is_up, self._at, _ = _confirm_reversals(close, threshold, pivots, i)
            return used + 1
        return len(coming)


def _confirm_reversals(
    close: Floats, threshold: float, pivots: list[Pivot], i: int
) -> tuple[bool, int, float]:
    """Start the leg after the pivot that candle `i` confirmed.

    Returns whether it is up, and index and value of its extreme. The extreme
    may lie before candle `i`, where the threshold was higher at that time. Candle `i` may even
    confirm that one as well; then this goes on with the leg after it.
    """
    while True:
        last = pivots[-1]
        since = close[last.index + 1 : i + 1].tolist()
        is_up = last.kind is _LOW
        extreme = max(since) if is_up else min(since)
        at = last.index + 1 + since.index(extreme)
        move = extreme - since[-1] if is_up else since[-1] - extreme
        if not _is_reversal(move, extreme, threshold):
            return is_up, at, extreme
        pivots.append(Pivot(at, _PEAK if is_up else _LOW, extreme, i))


def _is_reversal(move: float, extreme: float, threshold: float) -> bool:
    """Say whether a move away from the extreme exceeds the threshold, in percent of the extreme.

    Divided like the moving threshold itself, so that a move that equals it is not taken for more.
    From an extreme that is not a price any move at all is more.
    """
    return move * 100.0 / extreme > threshold if extreme > 0.0 else move > 0.0
