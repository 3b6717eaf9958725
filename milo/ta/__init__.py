"""Indicators: arrays in, arrays out (layer 1).

Every value depends on its candle and those before it only, and the indicator of a prefix is, bit
for bit, the prefix of the indicator. Everything is float64, as long as its input, NaN until
defined. `INDICATORS` lists what scripts can call.
"""

from __future__ import annotations

from milo.ta.averages import DemaStep, EmaStep, SmaStep, dema, ema, sma
from milo.ta.catalogue import CATALOGUE
from milo.ta.divergences import (
    DivergenceSearch,
    detect_divergences,
    find_extremum_in_window,
)
from milo.ta.momentum import MacdStep, RsiStep, StochasticStep, macd, rsi, stochastic
from milo.ta.spec import IndicatorSpec, Parameter, Returns
from milo.ta.swings import classify_swing_points
from milo.ta.volatility import AtrStep, atr
from milo.ta.volume import MeanStep, ObvStep, average_volume, obv
from milo.ta.zigzag import DEFAULT_FACTOR, Pivot, PivotKind, SwingPoint, ZigZag, zigzag

_PERIOD = Parameter(name="period", is_required=True, typical=20)
_PERIOD_14 = Parameter(name="period", default=14)

__all__ = [
    "DEFAULT_FACTOR",
    "INDICATORS",
    "IndicatorSpec",
    "Parameter",
    "Pivot",
    "PivotKind",
    "Returns",
    "SwingPoint",
    "ZigZag",
    "atr",
    "average_volume",
    "classify_swing_points",
    "dema",
    "detect_divergences",
    "ema",
    "find_extremum_in_window",
    "macd",
    "obv",
    "rsi",
    "sma",
    "stochastic",
    "zigzag",
]

INDICATORS: tuple[IndicatorSpec, ...] = (
    IndicatorSpec(
        name="calculate_sma",
        function=sma,
        step=SmaStep,
        takes=("close",),
        parameters=(_PERIOD,),
        outputs=("sma",),
        description="Simple moving average of close.",
    ),
    IndicatorSpec(
        name="calculate_ema",
        function=ema,
        step=EmaStep,
        takes=("close",),
        parameters=(_PERIOD,),
        outputs=("ema",),
        description="Exponential moving average of close, seeded by the mean of the first period.",
    ),
    IndicatorSpec(
        name="calculate_ema_internal",
        function=ema,
        step=EmaStep,
        takes=("values",),
        parameters=(_PERIOD,),
        outputs=("ema",),
        description="Exponential moving average of any series.",
    ),
    IndicatorSpec(
        name="calculate_dema",
        function=dema,
        step=DemaStep,
        takes=("values",),
        parameters=(_PERIOD,),
        outputs=("dema",),
        description="Double exponential moving average of any series.",
    ),
    IndicatorSpec(
        name="calculate_rsi",
        function=rsi,
        step=RsiStep,
        takes=("close",),
        parameters=(_PERIOD_14,),
        outputs=("rsi",),
        description="Wilder's relative strength index, 0..100; 100 where the average loss is 0.",
    ),
    IndicatorSpec(
        name="calculate_macd",
        function=macd,
        step=MacdStep,
        takes=("close",),
        parameters=(
            Parameter(name="fast", default=12),
            Parameter(name="slow", default=26),
            Parameter(name="signal", default=9),
        ),
        returns=Returns.TUPLE,
        outputs=("line", "signal"),
        description="EMA(fast) - EMA(slow), and the EMA of that line.",
    ),
    IndicatorSpec(
        name="calculate_atr",
        function=atr,
        step=AtrStep,
        takes=("high", "low", "close"),
        parameters=(_PERIOD_14,),
        outputs=("atr",),
        description="Wilder's average true range; the first true range is high - low.",
    ),
    IndicatorSpec(
        name="calculate_obv",
        function=obv,
        step=ObvStep,
        takes=("close", "volume"),
        outputs=("obv",),
        description="On-balance volume, 0 at the first candle.",
    ),
    IndicatorSpec(
        name="calculate_stochastic",
        function=stochastic,
        step=StochasticStep,
        takes=("high", "low", "close"),
        parameters=(
            Parameter(name="k_period", default=14),
            Parameter(name="d_period", default=3),
        ),
        returns=Returns.TUPLE,
        outputs=("k", "d"),
        description="Raw %K and its simple moving average %D, 0..100; 50 where high equals low.",
    ),
    IndicatorSpec(
        name="calculate_average_volume",
        function=average_volume,
        step=MeanStep,
        takes=("volume",),
        parameters=(_PERIOD_14,),
        returns=Returns.LAST,
        outputs=("average_volume",),
        description="Mean volume of the last period candles, one number.",
    ),
    IndicatorSpec(
        name="calculate_zigzag",
        function=zigzag,
        takes=("close",),
        parameters=(
            Parameter(name="threshold", default=None, minimum=0, is_whole=False),
            Parameter(name="factor", default=DEFAULT_FACTOR, minimum=0, is_whole=False),
        ),
        returns=Returns.POINTS,
        outputs=("points",),
        description="Swing points; threshold in percent of price, or factor x the mean move.",
        source="Milo",
    ),
    IndicatorSpec(
        name="classify_swing_points",
        function=classify_swing_points,
        takes=("zigzag_points", "data"),
        returns=Returns.ITEMS,
        outputs=("points",),
        description="Swing points with a label: HH, LH, H, HL, LL or L.",
        source="Milo",
    ),
    IndicatorSpec(
        name="find_extremum_in_window",
        function=find_extremum_in_window,
        takes=("values", "index", "left", "right", "is_min"),
        returns=Returns.ITEM,
        outputs=("value", "index"),
        description="The smallest or largest value around an index.",
        source="Milo",
    ),
    IndicatorSpec(
        name="detect_divergences",
        function=detect_divergences,
        search=DivergenceSearch,
        takes=("rsi", "zigzag_points", "data"),
        parameters=(
            Parameter(name="left_window", default=3, minimum=0),
            Parameter(name="right_window", default=0, minimum=0),
        ),
        returns=Returns.ITEMS,
        outputs=("divergences",),
        description="Regular and hidden divergences between price and RSI at swing points.",
        source="Milo",
    ),
    *CATALOGUE,
)
