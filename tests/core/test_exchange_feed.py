"""How base candles are played and summed: points, forming candles, intervals, exact sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.exchange.feed import (
    BaseCandle,
    RunningCandle,
    can_build,
    ceil_open,
    columns_of,
    intervals_of,
    joined,
    kline_tuples,
    played,
    point_times,
    points_of,
    summed,
)
from milo.exchange.synthetic import SyntheticFeed
from milo.intervals import DAY_MS, HOUR_MS, INTERVALS, MINUTE_MS, close_ms_of, open_of

JAN_2026 = 1_767_225_600_000


@st.composite
def base_candles(draw: st.DrawFn) -> BaseCandle:
    low, high = sorted(draw(st.tuples(*[st.integers(1, 10**13)] * 2)))
    inside = st.integers(low, high)
    volume, quote, trades = (draw(st.integers(0, 10**20)) for _ in range(3))
    return BaseCandle(
        JAN_2026, draw(inside), high, low, draw(inside), volume, quote, trades, volume // 3, quote
    )


def candle(open_: int, high: int, low: int, close: int, volume: int = 8) -> BaseCandle:
    return BaseCandle(JAN_2026, open_, high, low, close, volume, 40, 4, 2, 10)


def test_the_nearer_extreme_is_played_first() -> None:
    near_high = points_of(candle(100, 105, 90, 95), "1m")
    near_low = points_of(candle(100, 120, 95, 110), "1m")

    assert [price for _, price in near_high] == [100, 105, 90, 95]
    assert [price for _, price in near_low] == [100, 95, 120, 110]


def test_a_tie_plays_the_low_first() -> None:
    points = points_of(candle(100, 110, 90, 105), "1m")

    assert [price for _, price in points] == [100, 90, 110, 105]


@pytest.mark.parametrize(
    ("interval", "offsets"),
    [
        ("1m", (0, 20_000, 40_000, 59_999)),
        ("5m", (0, 100_000, 200_000, 299_999)),
        ("1h", (0, 1_200_000, 2_400_000, 3_599_999)),
    ],
)
def test_points_come_at_thirds_and_at_the_last_ms(interval: str, offsets: tuple[int, ...]) -> None:
    times = point_times(JAN_2026, interval)

    assert tuple(time - JAN_2026 for time in times) == offsets


@given(base_candles())
def test_points_stay_within_the_candle_and_touch_both_extremes(base: BaseCandle) -> None:
    prices = [price for _, price in points_of(base, "1m")]

    assert (prices[0], prices[-1]) == (base.open, base.close)
    assert (min(prices), max(prices)) == (base.low, base.high)


@given(base_candles(), st.integers(-5, 60_010))
def test_what_is_played_is_made_of_the_points_until_then(base: BaseCandle, ms: int) -> None:
    points = [price for time, price in points_of(base, "1m") if time <= JAN_2026 + ms]

    part = played(base, "1m", JAN_2026 + ms)

    if not points:
        assert part is None
        return
    assert part is not None
    assert (part.open, part.close) == (points[0], points[-1])
    assert (part.high, part.low) == (max(points), min(points))
    assert part.volume == base.volume * len(points) // 4
    assert part.trades == base.trades * len(points) // 4
    if len(points) == 4:
        assert part == base


def test_volume_grows_by_quarters_and_ends_exact() -> None:
    base = candle(100, 110, 90, 105, volume=7)

    parts = [played(base, "1m", JAN_2026 + ms) for ms in (0, 20_000, 40_000, 59_998, 59_999)]

    assert [part.volume for part in parts if part] == [1, 3, 5, 5, 7]


@pytest.mark.parametrize(
    ("base", "interval", "is_possible"),
    [
        ("1m", "1M", True),
        ("3m", "5m", False),
        ("3m", "15m", True),
        ("1h", "30m", False),
        ("4h", "6h", False),
        ("1d", "1w", True),
        ("3d", "1w", False),
        ("3d", "1M", False),
        ("1w", "1M", False),
        ("1h", "7h", False),
        ("1h", "1h", True),
    ],
)
def test_intervals_are_built_of_whole_base_candles(
    base: str, interval: str, is_possible: bool
) -> None:
    assert can_build(base, interval) is is_possible


def test_intervals_of_a_base_are_listed_shortest_first() -> None:
    assert intervals_of("4h") == ("4h", "8h", "12h", "1d", "3d", "1w", "1M")
    assert intervals_of("1m") == INTERVALS


@given(st.integers(1_500_000_000_000, 2_200_000_000_000), st.sampled_from(INTERVALS))
def test_ceil_open_is_the_first_boundary_not_before(time_ms: int, interval: str) -> None:
    opened = ceil_open(time_ms, interval)

    assert open_of(opened, interval) == opened >= time_ms
    assert open_of(opened - 1, interval) < time_ms


@pytest.mark.parametrize("interval", INTERVALS)
def test_sums_agree_with_open_of_at_every_boundary(interval: str) -> None:
    step = HOUR_MS if interval in ("1d", "3d", "1w", "1M") else MINUTE_MS
    opens = [JAN_2026 - 40 * step + i * step for i in range(2_500)]
    columns = columns_of([BaseCandle(ms, 5, 6, 4, 5, 1, 1, 1, 1, 1) for ms in opens])

    sums = summed(columns, interval)

    expected = list(dict.fromkeys(open_of(ms, interval) for ms in opens))
    assert sums.open_ms.tolist() == expected
    assert [row[6] for row in kline_tuples(sums, interval)] == [
        close_ms_of(ms, interval) for ms in expected
    ]
    assert sum(sums.volume.tolist()) == len(opens)


@given(st.lists(st.integers(0, 9 * 10**18), min_size=1, max_size=50))
def test_sums_are_exact_beyond_64_bits(volumes: list[int]) -> None:
    rows = [
        BaseCandle(JAN_2026 + i * MINUTE_MS, 5, 6, 4, 5, volume, 1, 1, 1, 1)
        for i, volume in enumerate(volumes)
    ]

    hour = summed(columns_of(rows), "1h").candle(0)

    assert hour.volume == sum(volumes)


def test_a_base_volume_beyond_64_bits_is_kept() -> None:
    rows = [BaseCandle(JAN_2026 + i * MINUTE_MS, 5, 6, 4, 5, 10**20, 1, 1, 1, 1) for i in range(3)]

    columns = joined([columns_of(rows[:2]), columns_of(rows[2:])])

    assert columns.candles() == rows
    assert summed(columns, "1h").candle(0).volume == 3 * 10**20


def test_a_gap_makes_no_candle_and_a_partly_missing_one_sums_what_is_there() -> None:
    minutes = [0, 1, 2, 61, 200]
    rows = [BaseCandle(JAN_2026 + m * MINUTE_MS, 5, 6, 4, 5, 10, 1, 1, 1, 1) for m in minutes]

    hours = summed(columns_of(rows), "1h")

    assert [(ms - JAN_2026) // HOUR_MS for ms in hours.open_ms.tolist()] == [0, 1, 3]
    assert hours.volume.tolist() == [30, 10, 10]


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d", "1M"])
def test_the_running_candle_is_what_klines_would_give_at_every_point(interval: str) -> None:
    feed = SyntheticFeed(3)
    start_ms = JAN_2026 + 31 * DAY_MS - 7 * MINUTE_MS
    running = RunningCandle(interval)
    running.prime(feed, "ETHUSDT", start_ms)

    for minute in range(15):
        base = feed.base_candle("ETHUSDT", start_ms + minute * MINUTE_MS)
        assert base is not None
        for time_ms in point_times(base.open_ms, "1m"):
            part = played(base, "1m", time_ms)
            assert part is not None
            expected = feed.klines(
                "ETHUSDT", interval, start_ms=None, end_ms=None, limit=1, now_ms=time_ms
            )
            assert [running.row(part)] == expected
        running.add(base)
