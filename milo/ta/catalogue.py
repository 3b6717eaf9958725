"""More indicators: TA-Lib's own, with TA-Lib's definitions, under the rules of this package.

Only those whose value at a candle depends on nothing later, bit for bit, are here. Their names
are TA-Lib's in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import talib
from numpy.typing import ArrayLike

from milo.ta.arguments import Floats, same_length, series_of, undefined
from milo.ta.averages import TALIB_LONGEST
from milo.ta.running import Columns, Stream, TooShort, Values
from milo.ta.spec import IndicatorSpec, Parameter, Returns


class TalibFunction:
    """One function of TA-Lib as `f(*columns, *parameters)`; parameters also by name."""

    def __init__(
        self,
        name: str,
        columns: tuple[str, ...],
        parameters: tuple[Parameter, ...],
        outputs: tuple[str, ...],
        fixed: tuple[int, ...],
    ) -> None:
        self.name = name
        self._function = getattr(talib, name)
        self._columns = columns
        self._parameters = parameters
        self._outputs = outputs
        self._fixed = fixed

    def __call__(self, *arguments: ArrayLike, **named: float) -> Floats | tuple[Floats, ...]:
        """Return one array, or a tuple of arrays; float64, as long as the columns.

        Raises ValueError where a parameter is out of its range, TypeError where arguments are
        missing or too many.
        """
        count = len(self._columns)
        if len(arguments) < count:
            raise TypeError(f"{self.name.lower()} needs {', '.join(self._columns)}")
        columns = [
            series_of(column, name)
            for name, column in zip(self._columns, arguments[:count], strict=True)
        ]
        length = same_length(**dict(zip(self._columns, columns, strict=True)))
        values = self._checked(arguments[count:], named)
        if self._is_too_short(values, length):
            results: Sequence[Floats] = [undefined(length) for _ in self._outputs]
        else:
            answer = self._function(*columns, *values, *self._fixed)
            # Supertrend's second answer, the side of the line, is not a series of floats.
            results = answer[: len(self._outputs)] if isinstance(answer, tuple) else (answer,)
        return results[0] if len(self._outputs) == 1 else tuple(results)

    def step(self, *arguments: Any) -> TalibStep:
        """Return the state after columns and parameters that this function has taken."""
        count = len(self._columns)
        columns = arguments[:count]
        values = self._checked(arguments[count:], {})
        if self._is_too_short(values, len(columns[0])):
            raise TooShort
        stream = Stream(self.name, columns, *values, *self._fixed)
        return TalibStep(stream, len(self._outputs))

    def _checked(self, positional: tuple[Any, ...], named: dict[str, float]) -> list[float]:
        names = [parameter.name for parameter in self._parameters]
        if len(positional) > len(names):
            raise TypeError(f"{self.name.lower()} takes at most {len(names)} parameters")
        given: dict[str, Any] = dict(zip(names, positional, strict=False))
        for name, value in named.items():
            if name not in names:
                raise TypeError(f"{self.name.lower()} has no parameter {name!r}")
            if name in given:
                raise TypeError(f"{self.name.lower()} got {name!r} twice")
            given[name] = value
        return [
            parameter.checked(given.get(parameter.name, parameter.default))
            for parameter in self._parameters
        ]

    def _is_too_short(self, values: Sequence[float], length: int) -> bool:
        """True where no value is defined; TA-Lib would refuse some of these."""
        if length == 0:
            return True
        for parameter, value in zip(self._parameters, values, strict=True):
            if parameter.is_whole and value > TALIB_LONGEST:
                if length <= value:
                    return True
                raise ValueError(f"{parameter.name} must be at most {TALIB_LONGEST}, not {value}")
        return False


class TalibStep:
    """The state of a TalibFunction."""

    def __init__(self, stream: Stream, outputs: int) -> None:
        self._stream = stream
        self._outputs = outputs

    def next(self, columns: Columns, index: int, *, keep: bool) -> Values:
        answer = self._stream.next(tuple([column.item(index) for column in columns]), keep=keep)
        return answer[: self._outputs] if isinstance(answer, tuple) else (answer,)


_PRICES = ("high", "low", "close")
_BANDS = ("upper", "middle", "lower")
_EMA = (1,)
_SMA = (0,)


def _period(default: int, minimum: int = 2, name: str = "period") -> Parameter:
    return Parameter(name=name, default=default, minimum=minimum)


def _factor(name: str, default: float) -> Parameter:
    return Parameter(name=name, default=default, minimum=0, is_whole=False)


def _spec(
    name: str,
    columns: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    description: str,
    *,
    outputs: tuple[str, ...] | None = None,
    fixed: tuple[int, ...] = (),
) -> IndicatorSpec:
    outputs = outputs or (name.lower(),)
    function = TalibFunction(name, columns, parameters, outputs, fixed)
    return IndicatorSpec(
        name=f"calculate_{name.lower()}",
        function=function,
        takes=columns,
        parameters=parameters,
        returns=Returns.SERIES if len(outputs) == 1 else Returns.TUPLE,
        outputs=outputs,
        description=description,
        source="TA-Lib",
        step=function.step,
    )


_CLOSE = ("close",)
_FLOW = ("high", "low", "close", "volume")
_ALL_PRICES = ("open", "high", "low", "close")

CATALOGUE: tuple[IndicatorSpec, ...] = (
    # Overlays
    _spec(
        "BBANDS",
        _CLOSE,
        (_period(20), _factor("nbdevup", 2.0), _factor("nbdevdn", 2.0)),
        "Bollinger Bands around the simple moving average.",
        outputs=_BANDS,
        fixed=_SMA,
    ),
    _spec("KAMA", _CLOSE, (_period(30),), "Kaufman's adaptive moving average."),
    _spec("MIDPOINT", _CLOSE, (_period(14),), "Middle of the range of closes."),
    _spec("MIDPRICE", ("high", "low"), (_period(14),), "Middle of the range of highs and lows."),
    _spec(
        "SAR",
        ("high", "low"),
        (_factor("acceleration", 0.02), _factor("maximum", 0.2)),
        "Wilder's parabolic stop and reverse.",
    ),
    _spec("T3", _CLOSE, (_period(5), _factor("vfactor", 0.7)), "Tillson's T3 moving average."),
    _spec("TEMA", _CLOSE, (_period(30),), "Triple exponential moving average."),
    _spec("TRIMA", _CLOSE, (_period(30),), "Triangular moving average."),
    _spec("WMA", _CLOSE, (_period(30),), "Linearly weighted moving average."),
    _spec("HMA", _CLOSE, (_period(20),), "Hull's moving average."),
    _spec("VWMA", ("close", "volume"), (_period(30),), "Volume weighted moving average."),
    _spec("ZLEMA", _CLOSE, (_period(30),), "Zero lag exponential moving average."),
    _spec("RMA", _CLOSE, (_period(30),), "Wilder's moving average."),
    _spec("DONCHIAN", ("high", "low"), (_period(20),), "Donchian's channel.", outputs=_BANDS),
    _spec(
        "KC",
        _PRICES,
        (_period(20), _period(10, name="atr_period"), _factor("nbdev", 2.0)),
        "Keltner's channel.",
        outputs=_BANDS,
    ),
    _spec(
        "SUPERTREND",
        _PRICES,
        (_period(10), _factor("multiplier", 3.0)),
        "Supertrend: a trailing line below rising and above falling closes.",
    ),
    # Momentum
    _spec("ADX", _PRICES, (_period(14),), "Average directional index."),
    _spec("ADXR", _PRICES, (_period(14),), "Average directional index rating."),
    _spec(
        "APO",
        _CLOSE,
        (_period(12, name="fast"), _period(26, name="slow")),
        "Absolute price oscillator of exponential averages.",
        fixed=_EMA,
    ),
    _spec("AROON", ("high", "low"), (_period(14),), "Aroon down and up.", outputs=("down", "up")),
    _spec("AROONOSC", ("high", "low"), (_period(14),), "Aroon up less Aroon down."),
    _spec("BOP", _ALL_PRICES, (), "Balance of power."),
    _spec("CCI", _PRICES, (_period(14),), "Commodity channel index."),
    _spec("CMO", _CLOSE, (_period(14),), "Chande's momentum oscillator."),
    _spec("DX", _PRICES, (_period(14),), "Directional movement index."),
    _spec("MFI", _FLOW, (_period(14),), "Money flow index."),
    _spec("MINUS_DI", _PRICES, (_period(14, 1),), "Minus directional indicator."),
    _spec("MINUS_DM", ("high", "low"), (_period(14, 1),), "Minus directional movement."),
    _spec("PLUS_DI", _PRICES, (_period(14, 1),), "Plus directional indicator."),
    _spec("PLUS_DM", ("high", "low"), (_period(14, 1),), "Plus directional movement."),
    _spec("MOM", _CLOSE, (_period(10, 1),), "Close less the close `period` candles before."),
    _spec(
        "PPO",
        _CLOSE,
        (_period(12, name="fast"), _period(26, name="slow")),
        "Percentage price oscillator of exponential averages.",
        fixed=_EMA,
    ),
    _spec("ROC", _CLOSE, (_period(10, 1),), "Rate of change, in percent."),
    _spec("ROCP", _CLOSE, (_period(10, 1),), "Rate of change, a fraction."),
    _spec("ROCR", _CLOSE, (_period(10, 1),), "Ratio to the close `period` candles before."),
    _spec("ROCR100", _CLOSE, (_period(10, 1),), "That ratio, times 100."),
    _spec("TRIX", _CLOSE, (_period(30, 1),), "One-candle rate of change of a triple EMA."),
    _spec(
        "ULTOSC",
        _PRICES,
        (
            _period(7, 1, "period1"),
            _period(14, 1, "period2"),
            _period(28, 1, "period3"),
        ),
        "Williams' ultimate oscillator.",
    ),
    _spec("WILLR", _PRICES, (_period(14),), "Williams' %R, -100..0."),
    _spec("VORTEX", _PRICES, (_period(14),), "Vortex, plus and minus.", outputs=("plus", "minus")),
    _spec(
        "TSI",
        _CLOSE,
        (_period(25, name="first"), _period(13, name="second")),
        "True strength index.",
    ),
    _spec(
        "AO",
        ("high", "low"),
        (_period(5, name="fast"), _period(34, name="slow")),
        "Awesome oscillator.",
    ),
    # Volatility
    _spec("NATR", _PRICES, (_period(14, 1),), "TA-Lib's average true range in percent of close."),
    _spec("TRANGE", _PRICES, (), "True range; NaN at the first candle."),
    # Volume
    _spec("AD", _FLOW, (), "Chaikin's accumulation/distribution line."),
    _spec(
        "ADOSC",
        _FLOW,
        (_period(3, name="fast"), _period(10, name="slow")),
        "Chaikin's oscillator.",
    ),
    _spec("CMF", _FLOW, (_period(20),), "Chaikin's money flow."),
    _spec("EFI", ("close", "volume"), (_period(13),), "Elder's force index."),
    _spec("PVT", ("close", "volume"), (), "Price volume trend."),
    # Statistics and prices
    _spec("LINEARREG", _CLOSE, (_period(14),), "End of the regression line of closes."),
    _spec("LINEARREG_ANGLE", _CLOSE, (_period(14),), "Its angle in degrees."),
    _spec("LINEARREG_INTERCEPT", _CLOSE, (_period(14),), "Its beginning."),
    _spec("LINEARREG_SLOPE", _CLOSE, (_period(14),), "Its slope, for each candle."),
    _spec("TSF", _CLOSE, (_period(14),), "The regression line, one candle ahead."),
    _spec(
        "STDDEV",
        _CLOSE,
        (_period(5), _factor("nbdev", 1.0)),
        "Standard deviation of the population of closes.",
    ),
    _spec("VAR", _CLOSE, (_period(5),), "Variance of the population of closes."),
    _spec("AVGDEV", _CLOSE, (_period(14),), "Average absolute deviation of closes."),
    _spec("AVGPRICE", _ALL_PRICES, (), "(open + high + low + close) / 4."),
    _spec("MEDPRICE", ("high", "low"), (), "(high + low) / 2."),
    _spec("TYPPRICE", _PRICES, (), "(high + low + close) / 3."),
    _spec("WCLPRICE", _PRICES, (), "(high + low + 2 close) / 4."),
)
