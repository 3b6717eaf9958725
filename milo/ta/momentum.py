"""Oscillators of momentum: RSI, MACD, Stochastic."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.averages import TALIB_LONGEST, exponential, wilder
from milo.ta.windows import window_max, window_mean, window_min


def rsi(close: ArrayLike, period: int = 14) -> Floats:
    """Return Wilder's RSI in 0..100; float64, same length as close, first `period` values NaN.

    100 where the average loss is 0, also where nothing has moved yet.
    Raises ValueError if period < 1. Source: Wilder 1978, ch. 6; TradingView ta.rsi.
    """
    series = series_of(close, "close")
    if len(series) <= whole(period, "period"):
        return undefined(len(series))
    if not 2 <= period <= TALIB_LONGEST:
        return _rsi_of_averages(series, period)
    result = np.asarray(talib.RSI(series, period))
    # TA-Lib says 0 where both averages are below 1e-14, which includes prices that have stood
    # still for some hundred candles and the prices of very small coins.
    at = np.flatnonzero(result == 0.0)
    if len(at):
        result[at] = _rsi_of_averages(series, period)[at]
    return result


def _rsi_of_averages(close: Floats, period: int) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        moves = np.diff(close)
        gain = wilder(np.maximum(moves, 0.0), period)
        loss = wilder(np.maximum(-moves, 0.0), period)
        total = gain + loss
        share = np.divide(gain, total, out=np.ones_like(total), where=loss != 0.0)
    result = undefined(len(close))
    result[period:] = 100.0 * share[period - 1 :]
    return result


def macd(
    close: ArrayLike, fast: int = 12, slow: int = 26, signal: int = 9
) -> tuple[Floats, Floats]:
    """Return (line, signal line); float64, same length as close.

    line = EMA(fast) - EMA(slow), each seeded by itself, first max(fast, slow) - 1 values NaN;
    signal = EMA of the line from its first value.
    Raises ValueError if a period < 1. Source: Appel; TradingView's built-in MACD.
    """
    series = series_of(close, "close")
    longest = max(whole(fast, "fast"), whole(slow, "slow"), whole(signal, "signal"))
    if 2 <= fast < slow and longest <= TALIB_LONGEST:
        return _fused_macd(series, fast, slow, signal)
    return _macd_of_averages(series, fast, slow, signal)


def _macd_of_averages(close: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats]:
    quick = exponential(close, fast)
    calm = exponential(close, slow)
    with np.errstate(over="ignore", invalid="ignore"):
        line = np.subtract(quick, calm, out=quick)
    return line, exponential(line, signal)


def _fused_macd(close: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats]:
    """Let TA-Lib compute all three averages in one pass, started as TradingView starts them.

    TA-Lib seeds both averages at candle slow - 1, with the mean of the last `fast` and the last
    `slow` closes. The closes up to there are replaced by ones whose means are the two averages
    that belong there. TA-Lib is silent until the signal begins; that part is computed here.
    """
    starts = slow + signal - 1
    if len(close) <= starts or np.isnan(close[:slow]).any():
        return _macd_of_averages(close, fast, slow, signal)
    quick = exponential(close[:slow], fast)[-1]
    calm = exponential(close[:slow], slow)[-1]
    seeded = close.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        seeded[: slow - fast] = (calm * slow - quick * fast) / (slow - fast)
    seeded[slow - fast : slow] = quick
    line, signal_line, _ = talib.MACD(seeded, fast, slow, signal)
    first = _macd_of_averages(close[:starts], fast, slow, signal)
    line[:starts], signal_line[:starts] = first
    return line, signal_line


def stochastic(
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    k_period: int = 14,
    d_period: int = 3,
) -> tuple[Floats, Floats]:
    """Return (%K, %D) in 0..100; float64, same length as close.

    %K is raw: where the close lies in the range of the last `k_period` candles; 50 where that
    range is empty. %D is the mean of the last `d_period` %K, equal to %K where they are all equal.
    First `k_period - 1` (%K) and `k_period + d_period - 2` (%D) values NaN.
    Raises ValueError if a period < 1. Source: Lane; TradingView ta.stoch and ta.sma.
    """
    highs, lows, closes = series_of(high, "high"), series_of(low, "low"), series_of(close, "close")
    same_length(high=highs, low=lows, close=closes)
    whole(d_period, "d_period")
    bottom = window_min(lows, whole(k_period, "k_period"))
    with np.errstate(over="ignore", invalid="ignore"):
        width = window_max(highs, k_period) - bottom
        share = np.divide(closes - bottom, width, out=np.full(len(closes), 0.5), where=width != 0.0)
        # Divided first: a close at the top of the range gives exactly 100.
        k = share * 100.0
    k[: k_period - 1] = np.nan
    d = undefined(len(k))
    d[k_period - 1 :] = window_mean(k[k_period - 1 :], d_period)
    return k, d
