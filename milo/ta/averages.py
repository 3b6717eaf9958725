"""Moving averages: simple, exponential, double exponential, Wilder's."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, first_defined, series_of, undefined, whole
from milo.ta.running import Columns, Stream, TooShort, Values
from milo.ta.windows import latest_mean, pin_constant_windows, window_mean

TALIB_LONGEST = 100_000
"""TA-Lib refuses longer periods."""

_STEADY_RANGE = 64.0


def sma(close: ArrayLike, period: int) -> Floats:
    """Return the simple moving average; float64, same length, first `period - 1` values NaN.

    Exactly the close where all closes of a window are equal. Raises ValueError if period < 1.
    """
    series = series_of(close, "close")
    period = whole(period, "period")
    if not 2 <= period <= min(len(series), TALIB_LONGEST):
        return window_mean(series, period)
    steady = _steady_length(series)
    if steady == len(series):
        mean = np.asarray(talib.SMA(series, period))
    else:
        mean = window_mean(series, period)
        mean[:steady] = talib.SMA(series[:steady], period) if steady else ()
    pin_constant_windows(series, period, mean)
    return mean


def _steady_length(series: Floats) -> int:
    """Return how many values from the first on suit TA-Lib's running sum.

    The sum keeps the rounding errors of the largest values that were ever in it. Up to a range of
    1 : 64 they stay below 1e-12 of the mean over a million candles; from the first value on that
    lies outside, each window is summed afresh.
    """
    smallest, largest = series.min(), series.max()
    if smallest > 0.0 and largest <= _STEADY_RANGE * smallest:
        return len(series)
    smallest_yet = np.minimum.accumulate(series)
    with np.errstate(over="ignore"):
        is_steady = np.maximum.accumulate(series) <= _STEADY_RANGE * smallest_yet
    is_steady &= smallest_yet > 0.0
    return int(is_steady.argmin())


def ema(values: ArrayLike, period: int) -> Floats:
    """Return the exponential moving average; float64, same length as values.

    alpha = 2 / (period + 1); the first value is the mean of the first `period` values, at index
    `period - 1`. NaNs at the beginning are skipped, so that the average of an indicator starts
    where the indicator does; a NaN later on makes all that follow NaN.
    Raises ValueError if period < 1. Source: TradingView ta.ema as its built-in indicators seed it.
    """
    return exponential(series_of(values), whole(period, "period"))


def dema(values: ArrayLike, period: int) -> Floats:
    """Return 2 EMA - EMA of EMA; float64, same length, first `2 (period - 1)` values NaN.

    Raises ValueError if period < 1. Source: Mulloy 1994; TradingView's DEMA.
    """
    series = series_of(values)
    once = exponential(series, whole(period, "period"))
    twice = exponential(once, period)
    with np.errstate(over="ignore", invalid="ignore"):
        once *= 2.0
        once -= twice
    return once


def exponential(series: Floats, period: int) -> Floats:
    """Return the EMA of a checked series and period, as `ema` describes it."""
    if period == 1:
        return series.copy()
    start = first_defined(series)
    if len(series) - start < period:
        return undefined(len(series))
    if period > TALIB_LONGEST:
        return _recurrence(series, period, start)
    # TA-Lib's wrapper looks for the first value itself.
    return np.asarray(talib.EMA(series, period))


def wilder(series: Floats, period: int) -> Floats:
    """Return Wilder's average of a series without NaN: alpha 1 / period, seeded by a mean.

    The first value, at index `period - 1`, is the mean of the first `period` values.
    """
    if len(series) < period:
        return undefined(len(series))
    width, seeded = _seeded(series, period)
    result = undefined(len(series))
    result[period - 1 :] = exponential(seeded, width)[width - 1 :]
    return result


def _seeded(series: Floats, period: int) -> tuple[int, Floats]:
    """Return period and series of an EMA that is Wilder's average of the series.

    TA-Lib's EMA of 2 period - 1 has that alpha; as many copies of the seed give it our start.
    """
    width = 2 * period - 1
    seed = _plain_mean(series[:period])
    return width, np.concatenate((np.full(width, seed), series[period:]))


def _plain_mean(series: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(series.sum()) / len(series)


def _recurrence(series: Floats, period: int, start: int) -> Floats:
    """Compute in Python what TA-Lib refuses: an average of more than 100,000 candles."""
    alpha = 2.0 / (period + 1.0)
    first = start + period - 1
    average = _plain_mean(series[start : first + 1])
    averages = [average]
    for value in series[first + 1 :].tolist():
        average = (value - average) * alpha + average
        averages.append(average)
    result = undefined(len(series))
    result[first:] = averages
    return result


class SmaStep:
    """The state of `sma`."""

    def __init__(self, close: Floats, period: int) -> None:
        self._period = period
        self._smallest, self._largest = float(close.min()), float(close.max())
        self._stream = None
        if period > len(close):
            raise TooShort
        if 2 <= period <= TALIB_LONGEST and self._is_steady(self._smallest, self._largest):
            self._stream = Stream("SMA", (close,), period)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        series = columns[0]
        value = series.item(index)
        if self._stream is not None:
            smallest, largest = min(self._smallest, value), max(self._largest, value)
            if self._is_steady(smallest, largest):
                if keep:
                    self._smallest, self._largest = smallest, largest
                mean = self._stream.next((value,), keep=keep)
                if value == series.item(index - 1):
                    window = series[index - self._period + 1 : index + 1]
                    if (window == value).all():
                        mean = value
                return (mean,)
            if keep:
                self._stream = None
        return (latest_mean(series, index, self._period),)

    @staticmethod
    def _is_steady(smallest: float, largest: float) -> bool:
        return smallest > 0.0 and largest <= _STEADY_RANGE * smallest


class EmaStep:
    """The state of `ema` and `exponential`."""

    def __init__(self, series: Floats, period: int) -> None:
        if period > TALIB_LONGEST:
            raise TooShort
        self._stream = None if period == 1 else Stream("EMA", (series,), period)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        return (self.after(columns[0].item(index), keep=keep),)

    def after(self, value: float, *, keep: bool) -> float:
        """Return the average after one more value; NaN, like all that follow, if it is not finite.

        That is what the recurrence gives for NaN; the callers see to it that none is infinite.
        """
        if self._stream is None:
            return value
        average: float = self._stream.next((value,), keep=keep)
        return average


class DemaStep:
    """The state of `dema`."""

    def __init__(self, series: Floats, period: int) -> None:
        once = exponential(series, period)
        self._once = EmaStep(series, period)
        self._twice = EmaStep(once, period)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        once = self._once.after(columns[0].item(index), keep=keep)
        return (once * 2.0 - self._twice.after(once, keep=keep),)


class WilderStep:
    """The state of `wilder`."""

    def __init__(self, series: Floats, period: int) -> None:
        if len(series) < period:
            raise TooShort
        width, seeded = _seeded(series, period)
        self._average = EmaStep(seeded, width)

    def after(self, value: float, *, keep: bool) -> float:
        """Return the average after one more value."""
        return self._average.after(value, keep=keep)
