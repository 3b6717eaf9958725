"""What indicators promise beside their formula: bounds, standing markets, no ghost signals."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from milo import ta


@pytest.mark.parametrize("price", [0.0, 1e-9, 0.1, 1 / 3, 1234.57, 1e150])
def test_a_market_that_never_moved(price: float) -> None:
    closes = np.full(700, price)

    k, d = ta.stochastic(closes, closes, closes)

    assert ta.rsi(closes)[14:].tolist() == [100.0] * 686
    assert k[13:].tolist() == [50.0] * 687
    assert d[15:].tolist() == [50.0] * 685
    assert ta.sma(closes, 14)[13:].tolist() == [price] * 687
    assert ta.atr(closes, closes, closes)[13:].tolist() == [0.0] * 687
    assert ta.obv(closes, closes).tolist() == [0.0] * 700


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12, 1e-100])
def test_rsi_does_not_depend_on_the_unit_of_price(scale: float) -> None:
    closes = 100 + np.cumsum(np.random.default_rng(3).normal(size=300))

    np.testing.assert_allclose(ta.rsi(closes * scale), ta.rsi(closes), rtol=1e-6)


def test_rsi_keeps_its_value_while_the_market_stands_still() -> None:
    moved = 100 + np.cumsum(np.random.default_rng(4).normal(size=50))
    closes = np.concatenate((moved, np.full(2_000, moved[-1])))

    found = ta.rsi(closes)

    np.testing.assert_allclose(found[50:], found[49], rtol=1e-9)


def test_rsi_of_only_rises_and_only_falls() -> None:
    rises = np.arange(1.0, 40.0)

    assert set(ta.rsi(rises)[14:]) == {100.0}
    assert set(ta.rsi(rises[::-1])[14:]) == {0.0}


def test_d_equals_k_where_k_stands_still_whatever_was_before() -> None:
    rng = np.random.default_rng(8)
    closes = np.round(100 + np.cumsum(rng.normal(size=3_000)), 1)
    # Every so often the close stays at the same place of the same range for a while.
    for start in range(100, 3_000, 100):
        closes[start : start + 30] = closes[start]
    k, d = ta.stochastic(closes + 0.1, closes - 0.3, closes, 14, 3)

    still = np.flatnonzero((k[2:] == k[1:-1]) & (k[1:-1] == k[:-2])) + 2

    assert len(still) > 300
    assert (d[still] == k[still]).all()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.1, 1 / 3, 77.7, 1e-9, 1e9]), min_size=1, max_size=30),
    st.integers(1, 12),
)
def test_mean_of_equal_values_is_that_value(values: list[float], period: int) -> None:
    closes = np.repeat(values, period)

    for found in (ta.sma(closes, period), ta.average_volume(closes, period)):
        for i in range(period - 1, len(closes)):
            if len(set(closes[i - period + 1 : i + 1])) == 1:
                assert found[i] == closes[i]


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(0.01, 1e6)] * 3), min_size=1, max_size=60), st.integers(1, 20)
)
def test_oscillators_stay_in_their_bounds(rows: list[tuple[float, ...]], period: int) -> None:
    ordered = np.sort(np.array(rows), axis=1)
    low, close, high = ordered.T

    k, d = ta.stochastic(high, low, close, period)
    for values in (ta.rsi(close, period), k, d):
        defined = values[~np.isnan(values)]
        assert ((defined >= 0.0) & (defined <= 100.0)).all()


def test_one_huge_volume_leaves_no_trace_in_the_average() -> None:
    volumes = np.array([1.0, 2.0, 1e18, 3.0, 4.0, 5.0, 6.0])

    assert ta.average_volume(volumes, 2)[4:].tolist() == [3.5, 4.5, 5.5]


def test_macd_with_fast_slower_than_slow_is_the_mirror_image() -> None:
    closes = 100 + np.cumsum(np.random.default_rng(9).normal(size=200))

    line, signal = ta.macd(closes, 26, 12, 9)
    mirrored_line, mirrored_signal = ta.macd(closes, 12, 26, 9)

    np.testing.assert_allclose(line, -mirrored_line, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(signal, -mirrored_signal, rtol=1e-9, atol=1e-12)


def test_atr_forgets_its_first_candle_only_as_wilder_does() -> None:
    # A first candle with a huge range must fade by 13/14 for each candle, and by nothing else.
    close = np.full(2_000, 100.0)
    high, low = close + 1, close - 1
    high[0], low[0] = 1e6, 0.0

    found = ta.atr(high, low, close)

    expected = 2 + (1e6 - 2) / 14 * (13 / 14) ** np.arange(len(close) - 13)
    np.testing.assert_allclose(found[13:], expected, rtol=1e-12)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["BTCUSDT_1m_perp_2025-05_2025-06.csv.gz", "SOLUSDT_5m_perp_2025-04_2026-05.csv.gz"],
)
def test_d_equals_k_on_real_candles_where_k_stands_still(shared_data: Path, name: str) -> None:
    with gzip.open(shared_data / "klines" / name, "rt") as lines:
        rows = [[float(row[item]) for item in (2, 3, 4)] for row in list(csv.reader(lines))[1:]]
    high, low, close = (np.array(column) for column in zip(*rows, strict=True))
    k, d = ta.stochastic(high, low, close, 14, 3)

    still = np.flatnonzero((k[2:] == k[1:-1]) & (k[1:-1] == k[:-2])) + 2

    assert len(still) > 20
    assert d[still].tolist() == k[still].tolist()
    # What the test guards against: a running sum drifts, and `k > d` is true where nothing moved.
    defined = k[13:]
    drifting = talib.SMA(defined, 3)[still - 13]
    assert (drifting != k[still]).any()
