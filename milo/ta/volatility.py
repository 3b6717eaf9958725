"""Volatility: Wilder's average true range."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.averages import TALIB_LONGEST, wilder
from milo.ta.running import Columns, Stream, TooShort, Values

# exp(-745) is the smallest positive float.
_UNDERFLOW_PERIODS = 745


def true_range(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Floats:
    """Return the true range; float64, same length; high - low at candle 0.

    Source: Wilder 1978, ch. 3; TradingView ta.tr(true).
    """
    highs, lows, closes = series_of(high, "high"), series_of(low, "low"), series_of(close, "close")
    if same_length(high=highs, low=lows, close=closes) == 0:
        return undefined(0)
    ranges = np.asarray(talib.TRANGE(highs, lows, closes))
    ranges[0] = float(highs[0]) - float(lows[0])
    return ranges


def atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, period: int = 14) -> Floats:
    """Return Wilder's average true range; float64, same length, first `period - 1` values NaN.

    The first value is the mean of the first `period` true ranges, that of candle 0 included.
    Raises ValueError if period < 1. Source: Wilder 1978, ch. 3; TradingView ta.atr.
    """
    highs, lows, closes = series_of(high, "high"), series_of(low, "low"), series_of(close, "close")
    length = same_length(high=highs, low=lows, close=closes)
    period = whole(period, "period")
    if period == 1 or period > TALIB_LONGEST or length <= period:
        return wilder(true_range(highs, lows, closes), period)
    result = np.asarray(talib.ATR(highs, lows, closes, period))
    _start_one_candle_earlier(result, true_range(*(x[: period + 1] for x in (highs, lows, closes))))
    return result


def _start_one_candle_earlier(result: Floats, ranges: Floats) -> None:
    """Turn TA-Lib's average, which begins with the true range of candle 1, into ours.

    Both follow one linear recurrence, so that their difference is what it is at the first candle
    that both have, times (1 - 1 / period) for each candle since. `ranges` are the true ranges of
    the first `period + 1` candles.
    """
    period = len(ranges) - 1
    result[period - 1] = wilder(ranges, period)[period - 1]
    differences = _differences(ranges, result[period], len(result))
    with np.errstate(over="ignore", invalid="ignore"):
        result[period : period + len(differences)] += differences


def _differences(ranges: Floats, theirs: float, length: int) -> Floats:
    """Return ours less TA-Lib's from candle `period` on, as far as they are not 0.

    `theirs` is TA-Lib's first average, `length` that of the series.
    """
    period = len(ranges) - 1
    # After that many candles the factor has become too small for a float.
    decay = np.full(min(length - period, _UNDERFLOW_PERIODS * period), 1.0 - 1.0 / period)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        decay[0] = wilder(ranges, period)[period] - theirs
        return np.cumprod(decay)


class AtrStep:
    """The state of `atr`."""

    def __init__(self, high: Floats, low: Floats, close: Floats, period: int = 14) -> None:
        columns = (high, low, close)
        if period > TALIB_LONGEST or len(close) <= period:
            raise TooShort
        self._decay = 1.0 - 1.0 / period
        self._period = period
        if period == 1:
            self._stream = Stream("TRANGE", columns)
            self._difference = 0.0
            return
        self._stream = Stream("ATR", columns, period)
        highs, lows, closes = (column[: period + 1] for column in columns)
        theirs = float(talib.ATR(highs, lows, closes, period)[period])
        differences = _differences(true_range(highs, lows, closes), theirs, len(close))
        self._difference = differences.item(-1)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        row = tuple([column.item(index) for column in columns])
        value = self._stream.next(row, keep=keep)
        if self._difference != 0.0:
            is_over = index >= self._period + _UNDERFLOW_PERIODS * self._period
            difference = 0.0 if is_over else self._difference * self._decay
            value += difference
            if keep:
                self._difference = difference
        return (value,)
