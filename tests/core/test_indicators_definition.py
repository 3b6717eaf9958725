"""Indicators equal their definitions: against exact fractions, golden values and real candles."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import indicator_reference as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo import ta

# Values that break careless arithmetic; each run repeats some of them.
NASTY = [0.0, 1e-300, 1e-9, 0.1, 1 / 3, 1.0, 100.1, 100.2, 1e8, 1e100, 1e200]
prices = st.lists(
    st.tuples(st.one_of(st.sampled_from(NASTY), st.floats(1e-3, 1e6)), st.integers(1, 8)).map(
        lambda run: [run[0]] * run[1]
    ),
    max_size=12,
).map(lambda runs: [value for run in runs for value in run])
periods = st.integers(1, 9)


def assert_equal(
    found: np.ndarray[Any, Any], expected: Sequence[Fraction | None], scales: Sequence[float]
) -> None:
    """Compare to 1e-12 of the scale: the size of what was added and subtracted."""
    assert len(found) == len(expected)
    for i, (value, wanted) in enumerate(zip(found.tolist(), expected, strict=True)):
        if wanted is None:
            assert np.isnan(value), f"defined too early at {i}"
        else:
            off = abs(Fraction(value) - wanted)
            assert off <= Fraction(scales[i]) * Fraction(1e-12), (i, value, float(wanted))


def own_size(expected: Sequence[Fraction | None]) -> list[float]:
    return [0.0 if value is None else float(abs(value)) for value in expected]


def size_so_far(values: Sequence[float]) -> list[float]:
    return np.maximum.accumulate(np.abs(values)).tolist() if len(values) else []


@settings(deadline=None)
@given(prices, periods)
def test_sma_is_the_mean_of_each_window(closes: list[float], period: int) -> None:
    expected = reference.sma(reference.exact(closes), period)

    assert_equal(ta.sma(closes, period), expected, own_size(expected))
    assert_equal(ta.average_volume(closes, period), expected, own_size(expected))


@settings(deadline=None)
@given(prices, periods)
def test_ema_starts_with_the_mean_of_the_first_period(closes: list[float], period: int) -> None:
    expected = reference.ema(reference.exact(closes), period)

    # Each step subtracts the average from the new value: a rounding of the larger one remains.
    assert_equal(ta.ema(closes, period), expected, size_so_far(closes))


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=60), periods, st.integers(0, 5))
def test_ema_of_a_series_begins_where_the_series_does(
    values: list[float], period: int, undefined: int
) -> None:
    expected = reference.ema([None] * undefined + reference.exact(values), period)

    found = ta.ema([float("nan")] * undefined + values, period)

    assert_equal(found, expected, [0.0] * undefined + size_so_far(values))


@settings(deadline=None)
@given(prices, periods)
def test_dema_is_twice_the_average_less_its_average(closes: list[float], period: int) -> None:
    expected = reference.dema(reference.exact(closes), period)

    assert_equal(ta.dema(closes, period), expected, size_so_far(closes))


@settings(deadline=None)
@given(prices, periods)
def test_rsi_is_wilders(closes: list[float], period: int) -> None:
    expected = reference.rsi(reference.exact(closes), period)

    assert_equal(ta.rsi(closes, period), expected, [100.0] * len(closes))


@settings(deadline=None)
@given(prices, periods, periods, periods)
def test_macd_seeds_each_average_by_itself(
    closes: list[float], fast: int, slow: int, signal: int
) -> None:
    expected = reference.macd(reference.exact(closes), fast, slow, signal)

    for found, wanted in zip(ta.macd(closes, fast, slow, signal), expected, strict=True):
        assert_equal(found, wanted, size_so_far(closes))


@settings(deadline=None)
@given(prices, st.integers(1, 9), st.data())
def test_atr_counts_the_range_of_candle_0(
    closes: list[float], period: int, data: st.DataObject
) -> None:
    wicks = data.draw(st.lists(st.floats(0, 1), min_size=2 * len(closes), max_size=2 * len(closes)))
    highs = [close * (1 + wick) for close, wick in zip(closes, wicks, strict=False)]
    lows = [close * (1 - wick) for close, wick in zip(closes, reversed(wicks), strict=False)]
    expected = reference.atr(*map(reference.exact, (highs, lows, closes)), period)

    assert_equal(ta.atr(highs, lows, closes, period), expected, size_so_far(highs))


@settings(deadline=None)
@given(prices, st.data())
def test_obv_starts_at_0(closes: list[float], data: st.DataObject) -> None:
    count = len(closes)
    volumes = data.draw(st.lists(st.floats(0, 1e9), min_size=count, max_size=count))
    expected = reference.obv(reference.exact(closes), reference.exact(volumes))

    assert_equal(ta.obv(closes, volumes), expected, np.cumsum(volumes).tolist())


@settings(deadline=None)
@given(prices, periods, st.integers(1, 4))
def test_stochastic_is_raw_with_a_simple_average(
    closes: list[float], k_period: int, d_period: int
) -> None:
    highs = [close * 1.01 for close in closes]
    lows = [close * 0.97 for close in closes]
    expected = reference.stochastic(
        *map(reference.exact, (highs, lows, closes)), k_period, d_period
    )

    for found, wanted in zip(
        ta.stochastic(highs, lows, closes, k_period, d_period), expected, strict=True
    ):
        assert_equal(found, wanted, [100.0] * len(closes))


def test_golden_values_are_reproduced() -> None:
    path = Path(__file__).parent.parent / "golden" / "indicators.json"
    golden = json.loads(path.read_text())
    _, highs, lows, closes, volumes = (
        np.array([row[i] for row in golden["candles"]]) for i in range(1, 6)
    )
    line, signal = ta.macd(closes)
    k, d = ta.stochastic(highs, lows, closes)
    found = {
        "sma(20)": ta.sma(closes, 20),
        "ema(20)": ta.ema(closes, 20),
        "dema(10)": ta.dema(closes, 10),
        "rsi(14)": ta.rsi(closes),
        "macd line(12, 26)": line,
        "macd signal(9)": signal,
        "atr(14)": ta.atr(highs, lows, closes),
        "obv": ta.obv(closes, volumes),
        "stochastic k(14)": k,
        "stochastic d(3)": d,
        "average_volume(14)": ta.average_volume(volumes),
    }

    assert found.keys() == golden["series"].keys()
    for name, values in found.items():
        wanted = [np.nan if value is None else value for value in golden["series"][name]]
        scale = 1.0 if name != "macd line(12, 26)" else 100.0
        np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-14 * scale, err_msg=name)


def test_golden_file_is_what_its_command_makes() -> None:
    path = Path(__file__).parent.parent / "golden" / "indicators.json"

    assert json.loads(path.read_text()) == reference.golden_values()


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["BTCUSDT_1h_perp_2019-09_2024-12.csv.gz", "1000PEPEUSDT_1h_perp_2025-02_2026-05.csv.gz"],
)
def test_real_candles_give_the_defined_values(shared_data: Path, name: str) -> None:
    with gzip.open(shared_data / "klines" / name, "rt") as lines:
        rows = [row[2:6] for row in csv.reader(lines)][1:301]
    columns = [[float(row[i]) for row in rows] for i in range(4)]
    highs, lows, closes, volumes = columns
    exact = [reference.exact(column) for column in columns]

    expected: list[Any] = [
        reference.sma(exact[2], 20),
        reference.ema(exact[2], 20),
        reference.rsi(exact[2], 14),
        *reference.macd(exact[2], 12, 26, 9),
        reference.atr(*exact[:3], 14),
        reference.obv(exact[2], exact[3]),
        *reference.stochastic(*exact[:3], 14, 3),
    ]
    found = [
        ta.sma(closes, 20),
        ta.ema(closes, 20),
        ta.rsi(closes),
        *ta.macd(closes),
        ta.atr(highs, lows, closes),
        ta.obv(closes, volumes),
        *ta.stochastic(highs, lows, closes),
    ]

    for values, wanted, scale in zip(
        found,
        expected,
        [*["price"] * 2, "100", *["price"] * 3, "volume", "100", "100"],
        strict=True,
    ):
        sizes = {
            "price": size_so_far(closes),
            "100": [100.0] * len(closes),
            "volume": np.cumsum(volumes).tolist(),
        }[scale]
        assert_equal(values, wanted, sizes)
