"""Candle intervals: their boundaries, also of weeks and months."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.intervals import (
    INTERVAL_MS,
    INTERVALS,
    back_from,
    close_ms_of,
    next_open_ms,
    open_of,
)

PROPERTY = settings(deadline=None, derandomize=True, max_examples=300)
TIMES = st.integers(1_400_000_000_000, 2_000_000_000_000)
NAMES = st.sampled_from(INTERVALS)


def utc_ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("interval", "opens"),
    [
        ("1m", utc_ms(2026, 11, 19, 17, 52)),
        ("15m", utc_ms(2026, 11, 19, 17, 45)),
        ("4h", utc_ms(2026, 11, 19, 16)),
        ("1d", utc_ms(2026, 11, 19)),
        ("1w", utc_ms(2026, 11, 16)),  # a Monday
        ("1M", utc_ms(2026, 11, 1)),
    ],
)
def test_a_time_lies_in_the_candle_that_opened_last(interval: str, opens: int) -> None:
    assert open_of(utc_ms(2026, 11, 19, 17, 52) + 31_000, interval) == opens


@PROPERTY
@given(TIMES, NAMES)
def test_every_time_lies_between_its_candles_open_and_close(time_ms: int, interval: str) -> None:
    open_ms = open_of(time_ms, interval)

    assert open_ms <= time_ms <= close_ms_of(open_ms, interval)
    assert open_of(open_ms, interval) == open_ms


@PROPERTY
@given(TIMES, NAMES)
def test_candles_follow_one_another_without_gap(time_ms: int, interval: str) -> None:
    open_ms = open_of(time_ms, interval)

    following = next_open_ms(open_ms, interval)

    assert following == close_ms_of(open_ms, interval) + 1
    assert open_of(following, interval) == following


@PROPERTY
@given(TIMES, NAMES, st.integers(0, 50))
def test_going_back_and_forth_again_ends_where_it_began(
    time_ms: int, interval: str, count: int
) -> None:
    open_ms = back_from(time_ms, interval, count)
    for _ in range(count):
        open_ms = next_open_ms(open_ms, interval)

    assert open_ms == open_of(time_ms, interval)


def test_months_have_their_own_length() -> None:
    february = utc_ms(2024, 2, 1)

    assert next_open_ms(february, "1M") - february == 29 * 86_400_000
    assert next_open_ms(utc_ms(2025, 12, 1), "1M") == utc_ms(2026, 1, 1)
    assert back_from(utc_ms(2026, 1, 15), "1M", 1) == utc_ms(2025, 12, 1)


def test_every_interval_has_a_nominal_length_and_they_rise() -> None:
    lengths = [INTERVAL_MS[name] for name in INTERVALS]

    assert lengths == sorted(lengths)
    assert len(set(lengths)) == len(INTERVALS) == 15
