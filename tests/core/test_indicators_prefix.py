"""No look-ahead: the indicator of a prefix is, bit for bit, the prefix of the indicator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from milo import ta
from milo.ta import INDICATORS, IndicatorSpec, Returns

Columns = dict[str, np.ndarray[Any, Any]]

SERIES = [
    spec for spec in INDICATORS if spec.returns in (Returns.SERIES, Returns.TUPLE, Returns.LAST)
]
NASTY = [0.0, 1e-300, 1e-9, 0.1, 1 / 3, 1.0, 100.1, 100.2, 1e8, 1e100, 1e200]

runs_of_prices = st.lists(
    st.tuples(st.one_of(st.sampled_from(NASTY), st.floats(1e-3, 1e6)), st.integers(1, 8)).map(
        lambda run: [run[0]] * run[1]
    ),
    max_size=10,
).map(lambda runs: [value for run in runs for value in run])


def columns_of(closes: list[float], seed: int) -> Columns:
    """Make candles around the closes; some have no range, some no volume."""
    rng = np.random.default_rng(seed)
    close = np.array(closes)
    wick = np.where(rng.random((3, len(closes))) < 0.3, 0.0, rng.random((3, len(closes))) * 0.02)
    high, low = close * (1 + wick[0]), close * (1 - wick[1])
    volume = np.where(rng.random(len(closes)) < 0.1, 0.0, rng.random(len(closes)) * 1e4)
    values = {"open": low + (high - low) * wick[2], "high": high, "low": low, "close": close}
    return {**values, "volume": volume, "values": close}


def computed(
    spec: IndicatorSpec, columns: Columns, count: int, parameters: tuple[Any, ...]
) -> list[np.ndarray[Any, Any]]:
    answer = spec.function(*(columns[name][:count].copy() for name in spec.takes), *parameters)
    return list(answer) if isinstance(answer, tuple) else [answer]


def assert_prefixes(
    spec: IndicatorSpec, columns: Columns, counts: list[int], parameters: tuple[Any, ...]
) -> None:
    whole = computed(spec, columns, len(columns["close"]), parameters)
    assert [values.dtype for values in whole] == [np.float64] * len(spec.outputs)
    assert {len(values) for values in whole} == {len(columns["close"])}
    for count in counts:
        for part, values in zip(computed(spec, columns, count, parameters), whole, strict=True):
            # NaNs compare equal, everything else by its bits: 0.0 is not -0.0.
            assert same_bits(part, values[:count]), (spec.name, parameters, count)


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    fill = [np.where(np.isnan(values), np.nan, values).tobytes() for values in (a, b)]
    return fill[0] == fill[1]


def small(spec: IndicatorSpec) -> tuple[Any, ...]:
    """Return parameters that fit short series: the smallest periods, other things as typical."""
    return tuple(
        max(int(parameter.minimum), 2) + i if parameter.is_whole else typical
        for i, (parameter, typical) in enumerate(
            zip(spec.parameters, spec.typical_arguments(), strict=True)
        )
    )


@pytest.mark.parametrize("spec", SERIES, ids=lambda spec: spec.name)
@settings(max_examples=15, deadline=None)
@given(closes=runs_of_prices, seed=st.integers(0, 99))
def test_every_prefix_of_nasty_values(spec: IndicatorSpec, closes: list[float], seed: int) -> None:
    columns = columns_of(closes, seed)

    assert_prefixes(spec, columns, list(range(len(closes))), small(spec))


@pytest.mark.parametrize("spec", SERIES, ids=lambda spec: spec.name)
def test_prefixes_of_a_long_walk(spec: IndicatorSpec) -> None:
    rng = np.random.default_rng(5)
    closes = np.round(np.exp(np.cumsum(rng.normal(size=5_000)) * 0.01) * 100, 1).tolist()
    columns = columns_of(closes, 5)
    counts = [*range(0, 80), *rng.integers(80, 5_000, size=25).tolist()]

    assert_prefixes(spec, columns, counts, spec.typical_arguments())


# Around 65,536 values the windows go on with a new block; some series outgrow TA-Lib's limits.
LONG = 70_000
LONG_COUNTS = [13, 65_535, 65_536, 65_548, 65_549, 65_550, 65_600, 69_999]


@pytest.mark.parametrize(
    "function",
    [
        lambda c: ta.sma(c["close"], 14),
        lambda c: ta.sma(c["values"], 14),
        lambda c: ta.sma(c["values"], 40_000),
        lambda c: ta.average_volume(c["volume"], 14),
        lambda c: ta.rsi(c["close"], 14),
        lambda c: ta.atr(c["high"], c["low"], c["close"], 14),
        lambda c: ta.macd(c["close"])[1],
        lambda c: ta.stochastic(c["high"], c["low"], c["close"], 14, 3)[0],
        lambda c: ta.stochastic(c["high"], c["low"], c["close"], 14, 3)[1],
    ],
)
def test_prefixes_across_blocks(
    function: Callable[[Columns], np.ndarray[Any, Any]],
) -> None:
    rng = np.random.default_rng(6)
    columns = columns_of(np.exp(np.cumsum(rng.normal(size=LONG)) * 0.001).tolist(), 6)
    # `values` crash to a thousandth on the way: there SMA changes its method.
    columns["values"] = columns["close"] * np.where(np.arange(LONG) < 50_000, 1.0, 0.001)
    whole = function(columns)

    for count in [*LONG_COUNTS, 49_999, 50_000, 50_001, 50_020]:
        part = function({name: values[:count].copy() for name, values in columns.items()})
        assert same_bits(part, whole[:count]), count


def test_sma_stays_true_after_a_crash_of_the_price() -> None:
    closes = np.concatenate((np.full(1_000, 1e16), np.linspace(1.0, 2.0, 1_000)))

    found = ta.sma(closes, 10)

    windows = np.lib.stride_tricks.sliding_window_view(closes, 10).mean(axis=1)
    np.testing.assert_allclose(found[9:], windows, rtol=1e-12)


def test_nobody_has_changed_talibs_process_wide_settings() -> None:
    # An unstable period or Metastock's seeding would silently shift every recurrence.
    assert [talib.get_unstable_period(name) for name in ("EMA", "RSI", "ATR")] == [0, 0, 0]
    assert talib.get_compatibility() == 0
