"""Indicators of volume."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.running import Columns, Stream, Values
from milo.ta.scratch import scratch_copy
from milo.ta.windows import latest_mean, window_mean


def obv(close: ArrayLike, volume: ArrayLike) -> Floats:
    """Return on-balance volume; float64, same length as close, 0 at the first candle.

    Source: Granville 1963; TradingView ta.obv.
    """
    closes, volumes = series_of(close, "close"), series_of(volume, "volume")
    if same_length(close=closes, volume=volumes) == 0:
        return undefined(0)
    # TA-Lib starts at the first candle's volume. Taking it off afterwards would cost digits.
    with scratch_copy(volumes) as from_zero:
        from_zero[0] = 0.0
        return np.asarray(talib.OBV(closes, from_zero))


def average_volume(volume: ArrayLike, period: int = 14) -> Floats:
    """Return the mean volume of the last `period` candles; first `period - 1` values NaN.

    Raises ValueError if period < 1.
    """
    return window_mean(series_of(volume, "volume"), whole(period, "period"))


class ObvStep:
    """The state of `obv`."""

    def __init__(self, close: Floats, volume: Floats) -> None:
        with scratch_copy(volume) as from_zero:
            from_zero[0] = 0.0
            self._stream = Stream("OBV", (close, from_zero))

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        row = (columns[0].item(index), columns[1].item(index))
        return (self._stream.next(row, keep=keep),)


class MeanStep:
    """The state of `average_volume`, which is none: each window is summed afresh."""

    def __init__(self, volume: Floats, period: int = 14) -> None:
        self._period = period

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        return (latest_mean(columns[0], index, self._period),)
