"""Oscillators of momentum: RSI, MACD, Stochastic."""

from __future__ import annotations

from collections import deque

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.averages import TALIB_LONGEST, EmaStep, WilderStep, exponential, wilder
from milo.ta.running import Columns, Stream, TooShort, Values
from milo.ta.scratch import scratch_copy
from milo.ta.windows import latest_extremes, mean_of, window_max, window_mean, window_min


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
    # TA-Lib says 0 where both averages have become too small for it, as after a long standstill.
    at = np.flatnonzero(result == 0.0)
    if len(at):
        result[at] = _rsi_of_averages(series, period)[at]
    return result


class RsiStep:
    """The state of `rsi`."""

    def __init__(self, close: Floats, period: int = 14) -> None:
        if len(close) <= period:
            raise TooShort
        self._period = period
        self._stream = None
        if 2 <= period <= TALIB_LONGEST:
            self._stream = Stream("RSI", (close,), period)
        self._averages: tuple[WilderStep, WilderStep] | None = None

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        close = columns[0]
        if self._stream is None:
            return (self._of_averages(close, index, keep=keep),)
        value = self._stream.next((close.item(index),), keep=keep)
        # The averages cost a pass over the history: made when they are needed for the first time.
        if value == 0.0:
            value = self._of_averages(close, index, keep=keep)
        elif self._averages is not None and keep:
            self._of_averages(close, index, keep=keep)
        return (value,)

    def _of_averages(self, close: Floats, index: int, *, keep: bool) -> float:
        if self._averages is None:
            gains, losses = _moves(close[:index])
            self._averages = WilderStep(gains, self._period), WilderStep(losses, self._period)
        move = close.item(index) - close.item(index - 1)
        gain = self._averages[0].after(max(move, 0.0), keep=keep)
        loss = self._averages[1].after(max(-move, 0.0), keep=keep)
        return 100.0 * (gain / (gain + loss) if loss != 0.0 else 1.0)


def _moves(close: Floats) -> tuple[Floats, Floats]:
    """Return how much each close gained, and lost, on the one before; one item less."""
    with np.errstate(over="ignore", invalid="ignore"):
        moves = np.diff(close)
        return np.maximum(moves, 0.0), np.maximum(-moves, 0.0)


def _rsi_of_averages(close: Floats, period: int) -> Floats:
    gains, losses = _moves(close)
    with np.errstate(over="ignore", invalid="ignore"):
        gain, loss = wilder(gains, period), wilder(losses, period)
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

    TA-Lib is silent until the signal begins; that part is computed here.
    """
    starts = slow + signal - 1
    if len(close) <= starts or np.isnan(close[:slow]).any():
        return _macd_of_averages(close, fast, slow, signal)
    with scratch_copy(close) as seeded:
        _seed(seeded, fast, slow)
        line, signal_line, _ = talib.MACD(seeded, fast, slow, signal)
    first = _macd_of_averages(close[:starts], fast, slow, signal)
    line[:starts], signal_line[:starts] = first
    return line, signal_line


def _seed(close: Floats, fast: int, slow: int) -> None:
    """Change the first closes so that TA-Lib's MACD starts from them as TradingView's does.

    TA-Lib seeds both averages at candle slow - 1, with the mean of the last `fast` and the last
    `slow` closes. The closes up to there are replaced by ones whose means are the two averages
    that belong there.
    """
    quick = exponential(close[:slow], fast)[-1]
    calm = exponential(close[:slow], slow)[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        close[: slow - fast] = (calm * slow - quick * fast) / (slow - fast)
    close[slow - fast : slow] = quick


class MacdStep:
    """The state of `macd`."""

    def __init__(self, close: Floats, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        self._stream = None
        if 2 <= fast < slow and max(slow, signal) <= TALIB_LONGEST:
            if len(close) < slow + signal - 1:
                raise TooShort
            with scratch_copy(close) as seeded:
                _seed(seeded, fast, slow)
                self._stream = Stream("MACD", (seeded,), fast, slow, signal)
            return
        self._quick, self._calm = EmaStep(close, fast), EmaStep(close, slow)
        line, _ = _macd_of_averages(close, fast, slow, signal)
        self._signal = EmaStep(line, signal)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        close = columns[0].item(index)
        if self._stream is not None:
            line, signal_line, _ = self._stream.next((close,), keep=keep)
            return line, signal_line
        line = self._quick.after(close, keep=keep) - self._calm.after(close, keep=keep)
        return line, self._signal.after(line, keep=keep)


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


class StochasticStep:
    """The state of `stochastic`: the newest %K."""

    def __init__(
        self, high: Floats, low: Floats, close: Floats, k_period: int = 14, d_period: int = 3
    ) -> None:
        if len(close) < k_period + d_period:
            raise TooShort
        self._k_period, self._d_period = k_period, d_period
        newest = slice(-(k_period + d_period), None)
        k, _ = stochastic(high[newest], low[newest], close[newest], k_period, 1)
        self._newest = deque(k[-d_period:].tolist(), maxlen=d_period)

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        high, low, close = columns
        bottom, top = latest_extremes(low, high, index, self._k_period)
        width = top - bottom
        k = (close.item(index) - bottom) / width * 100.0 if width != 0.0 else 50.0
        newest = self._newest if keep else self._newest.copy()
        newest.append(k)
        return k, mean_of(list(newest))
