"""Indicators: the async `calculate_*` names over milo.ta.

The same names, arguments and answers as in scripts, for Python programs. `data` is Candles, or
candles as mappings with time (open time, ms UTC), open, high, low, close and volume.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milo import ta
from milo.candles import Candles

Series = NDArray[np.float64]
CandleData = Candles | Sequence[Mapping[str, Any]]

_KEYS = ("time", "open", "high", "low", "close", "volume")


class Indicators:
    """All indicators of the script language; see docs/indicators.md.

    Each raises ValueError where `data` is no candles or a parameter is out of its range. Beside
    the methods below there is one for each further name in `milo.ta.INDICATORS`
    (`await indicators.calculate_bbands(data, 20)`).
    """

    async def calculate_sma(self, data: CandleData, period: int) -> Series:
        return ta.sma(candles_of(data).close, period)

    async def calculate_ema(self, data: CandleData, period: int) -> Series:
        return ta.ema(candles_of(data).close, period)

    async def calculate_ema_internal(self, values: ArrayLike, period: int) -> Series:
        return ta.ema(values, period)

    async def calculate_dema(self, values: ArrayLike, period: int) -> Series:
        return ta.dema(values, period)

    async def calculate_rsi(self, data: CandleData, period: int = 14) -> Series:
        return ta.rsi(candles_of(data).close, period)

    async def calculate_macd(
        self, data: CandleData, fast: int = 12, slow: int = 26, signal: int = 9
    ) -> tuple[Series, Series]:
        """Return (line, signal line)."""
        return ta.macd(candles_of(data).close, fast, slow, signal)

    async def calculate_atr(self, data: CandleData, period: int = 14) -> Series:
        candles = candles_of(data)
        return ta.atr(candles.high, candles.low, candles.close, period)

    async def calculate_obv(self, data: CandleData) -> Series:
        candles = candles_of(data)
        return ta.obv(candles.close, candles.volume)

    async def calculate_stochastic(
        self, data: CandleData, k_period: int = 14, d_period: int = 3
    ) -> tuple[Series, Series]:
        """Return (%K, %D)."""
        candles = candles_of(data)
        return ta.stochastic(candles.high, candles.low, candles.close, k_period, d_period)

    async def calculate_average_volume(self, data: CandleData, period: int = 14) -> float:
        """Return the mean volume of the last `period` candles; NaN where there are fewer."""
        means = ta.average_volume(candles_of(data).volume, period)
        return float(means[-1]) if len(means) else float("nan")

    async def calculate_zigzag(
        self, data: CandleData, threshold: float | None = None, factor: float = ta.DEFAULT_FACTOR
    ) -> list[ta.SwingPoint]:
        """Return swing points; `threshold` in percent of price (see milo.ta.zigzag)."""
        candles = candles_of(data)
        return ta.zigzag(candles.close, threshold, factor).points(open_ms=candles.open_ms)

    async def classify_swing_points(
        self, zigzag_points: Sequence[Mapping[str, Any]], data: CandleData | None = None
    ) -> list[dict[str, Any]]:
        return ta.classify_swing_points(zigzag_points, None if data is None else candles_of(data))

    async def find_extremum_in_window(
        self, values: Sequence[float] | Series, index: int, left: int, right: int, is_min: bool
    ) -> dict[str, Any]:
        return ta.find_extremum_in_window(values, index, left, right, is_min)

    async def detect_divergences(
        self,
        rsi: ArrayLike,
        zigzag_points: Sequence[Mapping[str, Any]],
        data: CandleData,
        left_window: int = 3,
        right_window: int = 0,
    ) -> list[dict[str, Any]]:
        candles = candles_of(data)
        return ta.detect_divergences(rsi, zigzag_points, candles, left_window, right_window)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        spec = _CATALOGUE.get(name)
        if spec is None:
            raise AttributeError(f"there is no indicator {name!r}")

        async def calculate(data: CandleData, *parameters: float, **named: float) -> Any:
            candles = candles_of(data)
            columns = (getattr(candles, column) for column in spec.takes)
            return spec.function(*columns, *parameters, **named)

        return calculate


_CATALOGUE = {spec.name: spec for spec in ta.INDICATORS if spec.source == "TA-Lib"}


def candles_of(data: CandleData) -> Candles:
    """Return `data` as Candles; raise ValueError where it is none."""
    if isinstance(data, Candles):
        return data
    try:
        rows = [tuple(candle[key] for key in _KEYS) for candle in data]
    except KeyError as error:
        raise ValueError(f"a candle has no {error.args[0]!r}") from error
    except TypeError as error:
        raise ValueError("data must be a sequence of candles") from error
    return Candles.from_rows(rows)
