"""Means and extremes of sliding windows, computed afresh for each window.

No running total: every value is a fixed tree of additions over its own window, so nothing drifts,
one huge value leaves no trace once it has left the window, and a prefix of the input gives the
same bits. The trees are built by doubling, which costs O(log period) passes over the series.
"""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milo.ta.arguments import Floats, undefined

Indices = NDArray[np.int64]

# A block and its work arrays fit in the cache (L2 or L3); smaller ones drown in call overhead.
_BLOCK = 65_536

# So many places are looked at one by one before the whole series is.
_FEW_PLACES = 256

# Up to this length a loop in Python is quicker than numpy's calls.
_SHORT_WINDOW = 64


def window_mean(series: Floats, period: int) -> Floats:
    """Return the mean of the last `period` values; the first `period - 1` are NaN.

    Exactly the value itself where all values of a window are equal; NaN where one is NaN.
    """
    length = len(series)
    if period == 1:
        return series.copy()
    if period > length:
        return undefined(length)
    mean = np.empty(length)
    mean[: period - 1] = np.nan
    work = np.empty((3, min(_BLOCK, length) + period))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(period - 1, length, _BLOCK):
            stop = min(start + _BLOCK, length)
            _sum_windows(series[start - period + 1 : stop], period, work, mean[start:stop])
    pin_constant_windows(series, period, mean)
    return mean


def latest_mean(series: Floats, index: int, period: int) -> float:
    """Return what `window_mean` has at one index of a series without NaN."""
    first = index - period + 1
    if first < 0:
        return nan
    if period > _SHORT_WINDOW:
        return float(window_mean(series[first : index + 1], period).item(-1))
    return mean_of(series[first : index + 1].tolist())


def mean_of(values: list[float]) -> float:
    """Return the mean of a window without NaN; the list is used up."""
    period, newest = len(values), values[-1]
    if values.count(newest) == period:
        return newest
    # The tree of `_sum_windows`, from the newest values on.
    total = None
    while values:
        if len(values) & 1:
            part = values.pop()
            total = part if total is None else total + part
        values = [older + newer for older, newer in zip(values[::2], values[1::2], strict=True)]
    assert total is not None
    return total / period


def latest_extremes(low: Floats, high: Floats, index: int, period: int) -> tuple[float, float]:
    """Return what `window_min` of low and `window_max` of high have at one index.

    There must be no NaN, and `period` candles up to there.
    """
    first = index - period + 1
    lows, highs = low[first : index + 1], high[first : index + 1]
    if period > _SHORT_WINDOW:
        return float(lows.min()), float(highs.max())
    return min(lows.tolist()), max(highs.tolist())


def window_max(series: Floats, period: int) -> Floats:
    """Return the largest of the last `period` values; the first `period - 1` are NaN."""
    return _window_extreme(np.maximum, series, period)


def window_min(series: Floats, period: int) -> Floats:
    """Return the smallest of the last `period` values; the first `period - 1` are NaN."""
    return _window_extreme(np.minimum, series, period)


def _sum_windows(block: Floats, period: int, work: Floats, mean: Floats) -> None:
    """Write the mean of each window of the block to `mean`, which has one place for each.

    Doubling makes the sums of runs of 1, 2, 4, ... values; the windows are made of those runs
    whose widths add up to the period, the newest values first.
    """
    count = len(mean)
    runs, width, covered = block, 1, 0
    total = block
    free = [0, 1, 2]
    while True:
        if period & width:
            first = period - covered - width
            part = runs[first : first + count]
            if covered:
                total = np.add(total, part, out=mean)
            else:
                # The first part stays where it is until a second one comes: that array is kept.
                total = part
                free = free[:2]
            covered += width
        if covered == period:
            break
        turn = free[0]
        doubled = work[turn, : len(runs) - width]
        np.add(runs[:-width], runs[width:], out=doubled)
        runs, width = doubled, width * 2
        free = [*free[1:], turn]
    np.divide(total, period, out=mean)


def pin_constant_windows(series: Floats, period: int, mean: Floats) -> None:
    """Set the mean of equal values to that value: sum / period may miss it by a rounding.

    Without this a line that stands still would lie above or below its own mean, and scripts that
    compare the two would see crossings that never happened.
    """
    needed = period - 1
    # A cheap look first: a run of `needed` repeats holds a multiple of it, and that one a
    # neighbour that repeats too (clipped at both ends, where it counts as one).
    repeats = np.flatnonzero(series[1::needed] == series[:-1:needed]) * needed
    if needed > 1:
        before, after = np.maximum(repeats - 1, 0), np.minimum(repeats + 2, len(series) - 1)
        is_run = (series[before] == series[repeats]) | (series[after] == series[repeats + 1])
        repeats = repeats[is_run]
    if len(repeats) <= _FEW_PLACES:
        repeats = repeats[_repeats_around(series, repeats, needed) >= needed]
    if not len(repeats):
        return
    repeats = np.flatnonzero(series[1:] == series[:-1])
    if len(repeats) < needed:
        return
    ends = repeats[needed - 1 :]
    is_constant = ends - repeats[: len(ends)] == needed - 1
    at = ends[is_constant] + 1
    mean[at] = series[at]


def _repeats_around(series: Floats, places: Indices, most: int) -> Indices:
    """Return how many repeats follow each other around each place, which is one; at most `most`
    are counted to either side."""
    last = len(series) - 2
    found = np.ones(len(places), np.int64)
    for side in (-1, 1):
        active = np.arange(len(places))
        for step in range(1, most):
            at = places[active] + side * step
            is_inside = (at >= 0) & (at <= last)
            active, at = active[is_inside], at[is_inside]
            active = active[series[at] == series[at + 1]]
            if not len(active):
                break
            found[active] += 1
    return found


def _window_extreme(choose: Any, series: Floats, period: int) -> Floats:
    length = len(series)
    if period == 1:
        return series.copy()
    if period > length:
        return undefined(length)
    extreme = np.empty(length)
    extreme[: period - 1] = np.nan
    work = np.empty((2, min(_BLOCK, length) + period))
    for start in range(period - 1, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        runs, width, turn = series[start - period + 1 : stop], 1, 0
        while width * 2 <= period:
            doubled = work[turn, : len(runs) - width]
            choose(runs[:-width], runs[width:], out=doubled)
            runs, width, turn = doubled, width * 2, 1 - turn
        # Two runs that overlap cover the window: an extreme may well be counted twice.
        count, rest = stop - start, period - width
        choose(runs[:count], runs[rest : rest + count], out=extreme[start:stop])
    return extreme
