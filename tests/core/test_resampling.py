"""Candles made of shorter ones: what is whole, what is left out."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import numpy as np
import pytest

from milo.candles import Candles
from milo.exchange.feed import can_build
from milo.intervals import INTERVAL_MS, INTERVALS, next_open_ms, open_of
from milo.resampling import resampled

Row = tuple[int, float, float, float, float, float]


def ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000


def rows_of(first_ms: int, base: str, count: int, random: Random) -> list[Row]:
    rows = []
    for index in range(count):
        low, one, other, high = sorted(random.uniform(1, 100) for _ in range(4))
        rows.append(
            (first_ms + index * INTERVAL_MS[base], one, high, low, other, random.randint(0, 9) / 4)
        )
    return rows


def plain(rows: list[Row], base: str, interval: str) -> tuple[list[Row], int]:
    """The same in plain Python, candle by candle."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(open_of(row[0], interval), []).append(row)
    made = [
        (
            opened, group[0][1], max(row[2] for row in group), min(row[3] for row in group),
            group[-1][4], sum(row[5] for row in group),
        )
        for opened, group in groups.items()
        if len(group) * INTERVAL_MS[base] == next_open_ms(opened, interval) - opened
    ]  # fmt: skip
    return made, len(groups) - len(made)


@pytest.mark.parametrize(
    ("base", "interval"),
    [
        (base, interval)
        for base in ("1m", "15m", "1h", "8h", "1d")
        for interval in INTERVALS
        if base != interval and can_build(base, interval) and interval != "1M"
    ]
    + [("12h", "1M"), ("1d", "1M")],
)
def test_candles_equal_those_of_a_plain_loop_with_parts_missing(base: str, interval: str) -> None:
    random = Random(f"{base} {interval}")
    parts = max(2, INTERVAL_MS[interval] // INTERVAL_MS[base])
    start_ms = open_of(ms(2024, 1, 17, 5, 33), base)
    rows = rows_of(start_ms, base, min(6 * parts, 15_000), random)
    gone = set(random.sample(range(len(rows)), 2))
    rows = [row for index, row in enumerate(rows) if index not in gone]

    made = resampled(Candles.from_rows(rows), base, interval)

    expected, left_out = plain(rows, base, interval)
    got = made.candles
    columns = (got.open_ms, got.open, got.high, got.low, got.close, got.volume)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert made.left_out == left_out


def test_a_leap_february_is_whole_with_29_days() -> None:
    days = Candles.from_rows(rows_of(ms(2024, 2, 1), "1d", 29, Random(1)))

    assert resampled(days, "1d", "1M").candles.open_ms.tolist() == [ms(2024, 2, 1)]
    assert resampled(days.prefix(28), "1d", "1M").left_out == 1


def test_no_candle_shows_anything_of_the_next_one() -> None:
    minutes = Candles.from_rows(rows_of(ms(2024, 2, 1), "1m", 600, Random(2)))
    whole = resampled(minutes, "1m", "1h").candles

    for count in (60, 119, 120, 301):
        prefix = resampled(minutes.prefix(count), "1m", "1h").candles
        assert len(prefix) == count // 60
        assert np.array_equal(prefix.close, whole.close[: count // 60])


def test_of_nothing_nothing_is_made() -> None:
    made = resampled(Candles.empty(), "1m", "1h")

    assert (len(made.candles), made.left_out) == (0, 0)
