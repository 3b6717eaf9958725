"""The simulated market: the same for everyone, at random access, one path under all intervals."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.exchange.factor import exp_of, normals, random_words, stream_key
from milo.exchange.feed import BaseCandle, KlineTuple, played, points_of
from milo.exchange.instrument_table import PROFILES
from milo.exchange.instruments import own_table
from milo.exchange.market import load_table
from milo.exchange.synthetic import SyntheticFeed
from milo.intervals import (
    DAY_MS,
    HOUR_MS,
    INTERVALS,
    MINUTE_MS,
    close_ms_of,
    next_open_ms,
    open_of,
)

JAN_2020 = 1_577_836_800_000
JAN_2026 = 1_767_225_600_000
JAN_2040 = 2_208_988_800_000
FAR = JAN_2040 + 1


def klines(
    feed: SyntheticFeed,
    symbol: str,
    interval: str,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int = 500,
    now_ms: int = FAR,
) -> list[KlineTuple]:
    return feed.klines(
        symbol, interval, start_ms=start_ms, end_ms=end_ms, limit=limit, now_ms=now_ms
    )


def total(interval: str, minutes: Iterable[BaseCandle]) -> KlineTuple:
    """Sum base candles by the plain definition: the oracle for the fast code."""
    rows = list(minutes)
    opened = open_of(rows[0].open_ms, interval)
    sums = [sum(row[field] for row in rows) for field in range(5, 10)]
    return (
        opened,
        rows[0].open,
        max(row.high for row in rows),
        min(row.low for row in rows),
        rows[-1].close,
        sums[0],
        close_ms_of(opened, interval),
        *sums[1:],
    )


def base(feed: SyntheticFeed, symbol: str, open_ms: int) -> BaseCandle:
    candle = feed.base_candle(symbol, open_ms)
    assert candle is not None
    return candle


@pytest.fixture(scope="module")
def feed() -> SyntheticFeed:
    return SyntheticFeed(1)


@pytest.mark.parametrize(
    ("symbol", "digest"),
    [
        ("BTCUSDT", "67f8eb6c23f464e6"),
        ("1000PEPEUSDT", "6356e084558a6024"),
    ],
)
def test_seed_one_is_the_same_market_on_every_computer(symbol: str, digest: str) -> None:
    rows = klines(SyntheticFeed(1), symbol, "1m", start_ms=JAN_2026, limit=1500)

    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == digest


def test_another_seed_is_another_market() -> None:
    one, two = (
        klines(SyntheticFeed(seed), "BTCUSDT", "1h", start_ms=JAN_2026, limit=5) for seed in (1, 2)
    )

    assert [row[1] for row in one] != [row[1] for row in two]
    assert SyntheticFeed(1).identity == "seed-1"
    assert SyntheticFeed(2).identity == "seed-2"
    assert "simulated" in SyntheticFeed(2).title


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_is_the_sum_of_the_one_minute_path(
    feed: SyntheticFeed, interval: str
) -> None:
    row = klines(feed, "SOLUSDT", interval, start_ms=JAN_2026 + 50 * DAY_MS, limit=1)[0]

    opens = range(row[0], next_open_ms(row[0], interval), MINUTE_MS)
    assert row == total(interval, (base(feed, "SOLUSDT", ms) for ms in opens))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(JAN_2020 // HOUR_MS, JAN_2040 // HOUR_MS - 1),
    st.sampled_from(["BTCUSDT", "ADAUSDT", "1000PEPEUSDT"]),
)
def test_random_access_gives_what_a_walk_through_the_days_gives(hour: int, symbol: str) -> None:
    whole_blocks, single_days = SyntheticFeed(1), SyntheticFeed(1)
    hour_ms = hour * HOUR_MS

    from_block = klines(whole_blocks, symbol, "1h", start_ms=hour_ms, limit=1)
    minutes = [base(single_days, symbol, hour_ms + m * MINUTE_MS) for m in range(60)]

    assert from_block == [total("1h", minutes)]


def test_the_order_of_questions_does_not_matter() -> None:
    forward, backward = SyntheticFeed(5), SyntheticFeed(5)
    days = [JAN_2026 + day * DAY_MS for day in range(0, 300, 60)]

    there = {day: klines(forward, "LTCUSDT", "15m", start_ms=day, limit=100) for day in days}
    klines(backward, "LTCUSDT", "1d", limit=800)
    back = {day: klines(backward, "LTCUSDT", "15m", start_ms=day, limit=100) for day in days[::-1]}

    assert there == back


@pytest.mark.parametrize("symbol", own_table())
def test_candles_are_whole_and_lie_on_tick_and_step(feed: SyntheticFeed, symbol: str) -> None:
    spec = own_table()[symbol]
    rows = klines(feed, symbol, "1m", start_ms=JAN_2026 + DAY_MS - 700 * MINUTE_MS, limit=1400)

    assert len(rows) == 1400
    for _, open_, high, low, close, volume, _, quote, trades, taker, taker_quote in rows:
        assert 0 < low <= min(open_, close) <= max(open_, close) <= high
        assert not any(price % spec.tick_e8 for price in (open_, high, low, close))
        assert volume > 0
        assert volume % spec.step_e8 == 0
        assert taker % spec.step_e8 == 0
        assert 0 <= taker <= volume
        assert 0 <= taker_quote <= quote
        assert trades >= 1
        assert low * volume // 10**8 - spec.tick_e8 * volume // 10**8 - 1 <= quote
        assert quote <= high * volume // 10**8 + 1


def test_about_half_of_the_minutes_open_where_the_last_one_closed(feed: SyntheticFeed) -> None:
    rows = klines(feed, "BTCUSDT", "1m", start_ms=JAN_2026, limit=1500)
    tick = own_table()["BTCUSDT"].tick_e8

    jumps = [abs(after[1] - before[4]) // tick for before, after in pairwise(rows)]

    assert 0.4 < sum(jump == 0 for jump in jumps) / len(jumps) < 0.6
    assert max(jumps) <= 3


def test_nothing_is_before_2020(feed: SyntheticFeed) -> None:
    first = klines(feed, "BTCUSDT", "1h", start_ms=0, limit=2)

    assert feed.first_open_ms("BTCUSDT") == JAN_2020
    assert [row[0] for row in first] == [JAN_2020, JAN_2020 + HOUR_MS]
    assert feed.base_candle("BTCUSDT", JAN_2020 - MINUTE_MS) is None
    assert klines(feed, "BTCUSDT", "1h", end_ms=JAN_2020 - 1) == []


def test_a_week_or_month_that_began_before_the_market_is_left_out(feed: SyntheticFeed) -> None:
    weeks = klines(feed, "BTCUSDT", "1w", start_ms=0, limit=1)

    assert weeks[0][0] == JAN_2020 + 5 * DAY_MS  # 2020-01-06, the first Monday


def test_a_time_between_two_minutes_has_no_base_candle(feed: SyntheticFeed) -> None:
    assert feed.base_candle("BTCUSDT", JAN_2026 + 1) is None


@pytest.mark.parametrize("interval", ["1m", "1h", "1d", "1w", "1M"])
def test_limits_follow_the_exchange(feed: SyntheticFeed, interval: str) -> None:
    now_ms = JAN_2026 + 100 * DAY_MS + 12_345_678
    newest = klines(feed, "BNBUSDT", interval, limit=6, now_ms=now_ms)
    opens = [row[0] for row in newest]

    def asked(start_ms: int | None, end_ms: int | None, limit: int) -> list[int]:
        rows = klines(
            feed,
            "BNBUSDT",
            interval,
            start_ms=start_ms,
            end_ms=end_ms,
            limit=limit,
            now_ms=now_ms,
        )
        return [row[0] for row in rows]

    assert opens[-1] == open_of(now_ms, interval)
    assert opens[1:] == [next_open_ms(ms, interval) for ms in opens[:-1]]
    assert asked(opens[0], None, 3) == opens[:3]
    assert asked(opens[0] + 1, None, 3) == opens[1:4]
    assert asked(None, opens[3], 2) == opens[2:4]
    assert asked(None, opens[3] - 1, 2) == opens[1:3]
    assert asked(opens[1], opens[4], 2) == opens[1:3]
    assert asked(opens[1], opens[2], 500) == opens[1:3]
    assert asked(now_ms + 1, None, 5) == []
    assert asked(opens[4], opens[1], 5) == []
    assert asked(None, None, 0) == []


def test_the_future_is_not_shown(feed: SyntheticFeed) -> None:
    now_ms = JAN_2026 + 5 * HOUR_MS + 17 * MINUTE_MS + 20_000

    as_of_now = klines(feed, "BTCUSDT", "1h", limit=3, now_ms=now_ms)
    later = klines(feed, "BTCUSDT", "1h", end_ms=now_ms, limit=3)

    assert as_of_now[:2] == later[:2]
    assert as_of_now[2][0] == later[2][0]
    assert as_of_now[2][5] < later[2][5]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2 * DAY_MS), st.sampled_from(["1m", "15m", "4h", "1d", "1w"]))
def test_the_forming_candle_is_made_of_the_points_played(
    feed: SyntheticFeed, offset_ms: int, interval: str
) -> None:
    now_ms = JAN_2026 + 37 * DAY_MS + offset_ms

    forming = klines(feed, "XRPUSDT", interval, limit=1, now_ms=now_ms)[0]

    opens = range(forming[0], now_ms + 1, MINUTE_MS)
    minutes = [base(feed, "XRPUSDT", ms) for ms in opens]
    prices = [p for row in minutes for ms, p in points_of(row, "1m") if ms <= now_ms]
    last = played(minutes[-1], "1m", now_ms)
    assert last is not None
    assert forming == total(interval, [*minutes[:-1], last])
    assert forming[1:5] == (prices[0], max(prices), min(prices), prices[-1])


@pytest.mark.parametrize("seed", [1, 2])
def test_prices_are_near_their_profiles_in_2026_and_sane_for_decades(seed: int) -> None:
    market = SyntheticFeed(seed)
    samples_ms = range(JAN_2020, JAN_2040, 90 * DAY_MS)

    for symbol in ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "TRXUSDT"):
        price = PROFILES[symbol.removesuffix("USDT")].price
        samples = [base(market, symbol, ms).close / 1e8 for ms in samples_ms]
        assert base(market, symbol, JAN_2026).open / 1e8 == pytest.approx(price, rel=0.05)
        assert price / 25 < min(samples)
        assert max(samples) < price * 25


def returns(market: SyntheticFeed, symbol: str, interval: str, count: int) -> np.ndarray:
    rows = klines(market, symbol, interval, start_ms=JAN_2026 - 1000 * DAY_MS, limit=count)
    return np.diff(np.log([row[4] for row in rows]))


def test_the_market_has_the_volatility_the_tails_and_the_clusters_of_one(
    feed: SyntheticFeed,
) -> None:
    btc, eth, doge = (
        returns(feed, symbol, "1d", 1200) for symbol in ("BTCUSDT", "ETHUSDT", "DOGEUSDT")
    )
    size = abs(btc)

    assert 0.40 < btc.std() * math.sqrt(365) < 0.60
    assert 0.70 < doge.std() * math.sqrt(365) < 1.20
    assert np.mean(btc**4) / btc.std() ** 4 > 4  # a normal one has 3
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.05
    assert abs(np.corrcoef(btc[1:], btc[:-1])[0, 1]) < 0.06
    assert np.corrcoef(btc, eth)[0, 1] > 0.6


def test_larger_moves_have_larger_volume(feed: SyntheticFeed) -> None:
    rows = klines(feed, "ETHUSDT", "1m", start_ms=JAN_2026, limit=20_000)
    moves = np.array([abs(row[4] - row[1]) for row in rows])
    volumes = np.array([row[5] for row in rows], dtype=float)

    assert np.corrcoef(moves, volumes)[0, 1] > 0.4


def test_midnight_is_a_minute_like_its_neighbours(feed: SyntheticFeed) -> None:
    moves = []
    for day in range(300):
        start_ms = JAN_2026 - (day * 7 * DAY_MS) + 23 * HOUR_MS
        rows = klines(feed, "BTCUSDT", "1m", start_ms=start_ms, limit=121)
        moves.append(np.diff(np.log([row[4] for row in rows])))
    spread = np.array(moves).std(axis=0)

    # Row 59 ends at 00:00 of the new day's first minute.
    assert spread[58:61] == pytest.approx(np.full(3, np.median(spread)), rel=0.35)


def test_funding_is_a_hundredth_of_a_percent_every_eight_hours(feed: SyntheticFeed) -> None:
    times = feed.funding_times("BTCUSDT", JAN_2026, JAN_2026 + DAY_MS)

    assert times == [JAN_2026 + hours * HOUR_MS for hours in (8, 16, 24)]
    assert feed.funding_times("BTCUSDT", JAN_2026 - 1, JAN_2026) == [JAN_2026]
    assert feed.funding_rate("BTCUSDT", JAN_2026) == 10_000


def test_a_fresh_run_starts_in_2026_and_never_ends(feed: SyntheticFeed) -> None:
    assert feed.default_start_ms == JAN_2026
    assert feed.end_ms is None
    assert base(feed, "BTCUSDT", JAN_2040).volume > 0


def test_an_unknown_symbol_is_a_key_error(feed: SyntheticFeed) -> None:
    with pytest.raises(KeyError):
        klines(feed, "NOPEUSDT", "1h")


def test_recorded_instruments_all_have_a_market_on_their_own_grid(shared_data: Path) -> None:
    table = load_table(shared_data / "exchange" / "exchangeInfo_usdm_testnet_2025-11-26.json.gz")
    market = SyntheticFeed(1, table)

    assert market.symbols == tuple(table)
    assert "币安人生USDT" in market.symbols
    for symbol in [*list(table)[::9], "币安人生USDT", "BTCUSDC"]:
        spec = table[symbol]
        row = base(market, symbol, JAN_2026)
        tick, step = spec.tick_e8, spec.step_e8
        assert not (tick and row.open % tick), symbol
        assert not (step and row.volume % step), symbol
        assert spec.instrument.min_price * 10**8 <= row.low, symbol
        assert row.high <= (spec.instrument.max_price * 10**8 or row.high), symbol


def test_another_grid_of_ticks_is_another_venue(shared_data: Path) -> None:
    recorded = load_table(shared_data / "exchange" / "exchangeInfo_usdm_testnet_2025-11-26.json.gz")

    assert SyntheticFeed(1, own_table()).identity == "seed-1"
    assert SyntheticFeed(1, recorded).identity.startswith("seed-1-")


def test_one_asset_has_one_movement_whatever_it_is_quoted_in(shared_data: Path) -> None:
    table = load_table(shared_data / "exchange" / "exchangeInfo_usdm_testnet_2025-11-26.json.gz")
    market = SyntheticFeed(1, table)

    usdt, usdc = (base(market, symbol, JAN_2026) for symbol in ("BTCUSDT", "BTCUSDC"))

    assert usdt.close == pytest.approx(usdc.close, rel=1e-4)


def test_exp_of_is_the_exponential_function() -> None:
    levels = np.linspace(-5, 5, 1001)

    assert exp_of(levels) == pytest.approx(np.exp(levels), rel=1e-8)
    assert exp_of(0.0) == 1.0


def test_normals_have_mean_zero_and_variance_one() -> None:
    numbers = normals(random_words(stream_key(9, "a test"), 0, 400_000))

    assert numbers.mean() == pytest.approx(0, abs=0.01)
    assert numbers.std() == pytest.approx(1, abs=0.01)


def test_random_words_can_be_had_from_any_multiple_of_four() -> None:
    key = stream_key(1, "words")

    whole = random_words(key, 0, 64)

    assert random_words(key, 20, 44).tolist() == whole[20:].tolist()
