"""The list of indicators, its page in docs, and the async names for Python programs."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indicators import Indicators
from milo import ta
from milo.candles import Candles
from milo.ta import INDICATORS, IndicatorSpec
from milo.ta.document import call_of, indicators_page

CLOSES = np.round(100 + np.cumsum(np.random.default_rng(2).normal(size=200)), 2)
ROWS = [
    (3_600_000 * i, close, close + 1, close - 1, close, 10.0 + i)
    for i, close in enumerate(CLOSES.tolist())
]
CANDLES = Candles.from_rows(ROWS)
MAPPINGS = [
    dict(zip(("time", "open", "high", "low", "close", "volume"), row, strict=True)) for row in ROWS
]
ON_CANDLES = [spec for spec in INDICATORS if spec.takes_candles]


def test_docs_page_is_what_the_list_says(project_dir: Path) -> None:
    page = (project_dir / "docs" / "indicators.md").read_text(encoding="utf-8")

    assert page == indicators_page(), "run: python -m milo.ta.document > docs/indicators.md"


def test_names_are_unique_and_follow_the_language() -> None:
    names = [spec.name for spec in INDICATORS]

    assert len(set(names)) == len(names)
    assert names[:14] == [
        "calculate_sma", "calculate_ema", "calculate_ema_internal", "calculate_dema",
        "calculate_rsi", "calculate_macd", "calculate_atr", "calculate_obv",
        "calculate_stochastic", "calculate_average_volume", "calculate_zigzag",
        "classify_swing_points", "find_extremum_in_window", "detect_divergences",
    ]  # fmt: skip
    assert all(name.startswith("calculate_") for name in names[14:])


@pytest.mark.parametrize("spec", INDICATORS, ids=lambda spec: spec.name)
def test_a_spec_tells_its_functions_parameters(spec: IndicatorSpec) -> None:
    if spec.source == "TA-Lib":
        return
    signature = list(inspect.signature(spec.function).parameters.values())
    declared = signature[len(spec.takes) :]

    assert [p.name for p in declared] == [p.name for p in spec.parameters]
    for parameter, told in zip(declared, spec.parameters, strict=True):
        has_default = parameter.default is not inspect.Parameter.empty
        assert has_default is not told.is_required
        assert told.is_required or parameter.default == told.default


def test_calls_are_written_as_the_language_page_writes_them() -> None:
    calls = {call_of(spec) for spec in INDICATORS}

    assert "calculate_sma(data, period)" in calls
    assert "calculate_zigzag(data, threshold=None, factor=2.2)" in calls
    assert "detect_divergences(rsi, zigzag_points, data, left_window=3, right_window=0)" in calls


@pytest.mark.parametrize("spec", ON_CANDLES, ids=lambda spec: spec.name)
async def test_every_name_works_on_candles_and_on_mappings(spec: IndicatorSpec) -> None:
    calculate = getattr(Indicators(), spec.name)

    found = await calculate(CANDLES, *spec.typical_arguments())
    again = await calculate(MAPPINGS, *spec.typical_arguments())

    np.testing.assert_equal(again, found)
    assert type(found) in (np.ndarray, tuple, float, list)


async def test_methods_answer_as_the_language_says() -> None:
    names = Indicators()
    rsi = await names.calculate_rsi(MAPPINGS)
    line, signal = await names.calculate_macd(CANDLES)
    k, d = await names.calculate_stochastic(CANDLES)
    points = await names.calculate_zigzag(MAPPINGS)
    divergences = await names.detect_divergences(rsi, points, MAPPINGS, 20, 0)

    np.testing.assert_array_equal(rsi, ta.rsi(CLOSES))
    assert len(line) == len(signal) == len(k) == len(d) == 200
    assert [point["time"] for point in points] == [3_600_000 * p["index"] for p in points]
    assert points[-1]["confirmed"] is False
    assert {item["startTime"] % 3_600_000 for item in divergences} == {0}
    labelled = await names.classify_swing_points(points, MAPPINGS)
    assert {point["label"] for point in labelled} <= {"HH", "LH", "H", "HL", "LL", "L"}
    extremum = await names.find_extremum_in_window(rsi, 100, 5, 5, True)
    assert extremum["value"] == min(rsi[95:106])


async def test_averages_of_any_series() -> None:
    names = Indicators()
    smoothed = await names.calculate_ema_internal(await names.calculate_obv(CANDLES), 10)
    double = await names.calculate_dema([1.0, 2.0, 3.0, 4.0, 5.0], 2)

    np.testing.assert_array_equal(smoothed, ta.ema(ta.obv(CLOSES, CANDLES.volume), 10))
    np.testing.assert_allclose(double, [np.nan, np.nan, 3.0, 4.0, 5.0])


async def test_average_volume_is_one_float() -> None:
    names = Indicators()

    assert await names.calculate_average_volume(CANDLES) == 10.0 + 192.5
    assert math.isnan(await names.calculate_average_volume(MAPPINGS[:13]))
    assert math.isnan(await names.calculate_average_volume([]))
    with pytest.raises(ValueError, match=r"period must be a whole number, not 14\.0"):
        await names.calculate_average_volume(CANDLES, 14.0)


async def test_no_candles_give_nothing_and_no_error() -> None:
    names = Indicators()

    assert (await names.calculate_rsi([])).tolist() == []
    assert await names.calculate_zigzag([]) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"time": 0, "open": 1.0}], "a candle has no 'high'"),
        ([1.0, 2.0], "data must be a sequence of candles"),
        (5, "data must be a sequence of candles"),
        ([MAPPINGS[1], MAPPINGS[0]], "not later"),
        ([{**MAPPINGS[0], "close": math.nan}], "close is nan"),
        ([{**MAPPINGS[0], "time": "2024-01-01"}], "open_ms holds something else"),
    ],
)
async def test_data_that_is_no_candles_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await Indicators().calculate_rsi(data)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="calculate_magic"):
        Indicators().calculate_magic  # noqa: B018
