"""Volatility: Wilder's average true range."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.averages import TALIB_LONGEST, wilder

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
    first = wilder(ranges, period)
    result[period - 1] = first[period - 1]
    # After that many candles the factor has become too small for a float.
    decay = np.full(min(len(result) - period, _UNDERFLOW_PERIODS * period), 1.0 - 1.0 / period)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        decay[0] = first[period] - result[period]
        result[period : period + len(decay)] += np.cumprod(decay)
