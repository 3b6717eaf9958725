"""What indicators do with short histories, odd periods and things that are no series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milo import ta
from milo.ta import INDICATORS, IndicatorSpec, Parameter, Returns

SERIES = [
    spec for spec in INDICATORS if spec.returns in (Returns.SERIES, Returns.TUPLE, Returns.LAST)
]
WITH_PERIOD = [spec for spec in SERIES if spec.parameters and spec.parameters[0].is_whole]
PERIODS = [
    (spec, i)
    for spec in SERIES
    for i, parameter in enumerate(spec.parameters)
    if parameter.is_whole
]


def call(spec: IndicatorSpec, count: int, *parameters: Any) -> list[np.ndarray[Any, Any]]:
    walk = 100.0 + np.sin(np.arange(count))
    columns = {"high": walk + 1, "low": walk - 1}
    answer = spec.function(*(columns.get(name, walk) for name in spec.takes), *parameters)
    return list(answer) if isinstance(answer, tuple) else [answer]


def with_one(spec: IndicatorSpec, index: int, value: Any) -> list[Any]:
    parameters: list[Any] = list(spec.typical_arguments())
    parameters[index] = value
    return parameters


@pytest.mark.parametrize("spec", SERIES, ids=lambda spec: spec.name)
def test_no_candles_give_an_empty_series(spec: IndicatorSpec) -> None:
    for values in call(spec, 0, *spec.typical_arguments()):
        assert values.dtype == np.float64
        assert values.shape == (0,)


@pytest.mark.parametrize("spec", WITH_PERIOD, ids=lambda spec: spec.name)
@pytest.mark.parametrize("period", [50, 100_001, 10**9])
def test_too_short_history_is_all_nan(spec: IndicatorSpec, period: int) -> None:
    parameters = [
        period if parameter.is_whole else typical
        for parameter, typical in zip(spec.parameters, spec.typical_arguments(), strict=True)
    ]

    for values in call(spec, 20, *parameters):
        assert len(values) == 20
        assert np.isnan(values).all()


@pytest.mark.parametrize(("spec", "index"), PERIODS, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("period", [0, -1, 14.0, 2.5, True, None, "14", float("nan")])
def test_period_that_is_no_positive_whole_number_is_refused(
    spec: IndicatorSpec, index: int, period: Any
) -> None:
    with pytest.raises(ValueError, match=spec.parameters[index].name):
        call(spec, 50, *with_one(spec, index, period))


@pytest.mark.parametrize(("spec", "index"), PERIODS, ids=lambda value: getattr(value, "name", None))
def test_smallest_period_is_accepted(spec: IndicatorSpec, index: int) -> None:
    smallest = int(spec.parameters[index].minimum)

    for values in call(spec, 200, *with_one(spec, index, smallest)):
        assert not np.isnan(values[-1])


@pytest.mark.parametrize(("spec", "index"), PERIODS, ids=lambda value: getattr(value, "name", None))
def test_numpy_integer_is_a_whole_number(spec: IndicatorSpec, index: int) -> None:
    found = call(spec, 60, *with_one(spec, index, np.int64(5)))

    for values, same in zip(found, call(spec, 60, *with_one(spec, index, 5)), strict=True):
        np.testing.assert_array_equal(values, same)


@pytest.mark.parametrize("spec", SERIES, ids=lambda spec: spec.name)
def test_input_is_left_as_it_was_and_may_be_read_only(spec: IndicatorSpec) -> None:
    walk = np.abs(np.cumsum(np.random.default_rng(1).normal(size=300))) + 1
    before = walk.copy()
    walk.setflags(write=False)

    answer = spec.function(*(walk for _ in spec.takes), *spec.typical_arguments())

    np.testing.assert_array_equal(walk, before)
    for values in answer if isinstance(answer, tuple) else (answer,):
        assert not np.shares_memory(values, walk)


def test_lists_and_whole_numbers_are_series_too() -> None:
    np.testing.assert_array_equal(ta.sma([1, 2, 3, 4], 2), [np.nan, 1.5, 2.5, 3.5])


@pytest.mark.parametrize(
    "values", [["a"], ["1"], [[1.0, 2.0]], [[1.0], [1.0, 2.0]], 3.0, None, [None, 1.0], [True]]
)
def test_what_is_no_series_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="close must be a sequence of numbers"):
        ta.sma(values, 1)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="high 3, low 3, close 2"):
        ta.atr([1.0] * 3, [1.0] * 3, [1.0] * 2)


@pytest.mark.parametrize("period", [100_001, 150_000])
def test_periods_that_talib_refuses_work_on_long_histories(period: int) -> None:
    walk = 100.0 + np.sin(np.arange(200_002))

    for values in (
        ta.sma(walk, period),
        ta.ema(walk, period),
        ta.rsi(walk, period),
        ta.atr(walk + 1, walk - 1, walk, period),
        ta.macd(walk, 12, period)[0],
        ta.stochastic(walk + 1, walk - 1, walk, period)[0],
    ):
        defined = np.flatnonzero(~np.isnan(values))
        assert defined[0] in (period - 1, period)
        assert len(defined) == len(walk) - defined[0]


def test_catalogue_refuses_longer_periods_than_talib_on_long_histories() -> None:
    spec = next(spec for spec in INDICATORS if spec.name == "calculate_wma")

    with pytest.raises(ValueError, match="period must be at most 100000"):
        spec.function(np.ones(100_002), 100_001)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, "bbands needs close"),
        (([1.0], 20, 2.0, 2.0, 0), {}, "at most 3 parameters"),
        (([1.0],), {"nbdev": 1.0}, "no parameter 'nbdev'"),
        (([1.0], 20), {"period": 20}, "'period' twice"),
    ],
)
def test_catalogue_functions_are_called_like_python_functions(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    spec = next(spec for spec in INDICATORS if spec.name == "calculate_bbands")

    with pytest.raises(TypeError, match=message):
        spec.function(*arguments, **named)


def test_a_parameter_that_may_be_absent_accepts_none() -> None:
    threshold = Parameter(name="threshold", minimum=0, is_whole=False)

    assert threshold.checked(None) is None
    assert threshold.checked(2) == 2.0
    with pytest.raises(ValueError, match="threshold must be a number of at least 0, not -1"):
        threshold.checked(-1)
