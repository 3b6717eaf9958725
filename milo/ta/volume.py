"""Indicators of volume."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined, whole
from milo.ta.windows import window_mean


def obv(close: ArrayLike, volume: ArrayLike) -> Floats:
    """Return on-balance volume; float64, same length as close, 0 at the first candle.

    Source: Granville 1963; TradingView ta.obv.
    """
    closes, volumes = series_of(close, "close"), series_of(volume, "volume")
    if same_length(close=closes, volume=volumes) == 0:
        return undefined(0)
    # TA-Lib starts at the first candle's volume. Taking it off afterwards would cost digits.
    volumes = volumes.copy()
    volumes[0] = 0.0
    return np.asarray(talib.OBV(closes, volumes))


def average_volume(volume: ArrayLike, period: int = 14) -> Floats:
    """Return the mean volume of the last `period` candles; first `period - 1` values NaN.

    Raises ValueError if period < 1.
    """
    return window_mean(series_of(volume, "volume"), whole(period, "period"))
