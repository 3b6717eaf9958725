"""What the backtest benchmark compares with: made-up candles, the right trades, the differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.candles import MINUTE_MS, START_MS, TICK, read_csv, synthetic, write_csv
from benchmarks.trades import BenchTrade, Reason, compare, crossings, right_trades, trades_of
from milo.ta.momentum import macd

LONG_AT_FIRST = [True, False, False, False, False]


def rows(*prices: tuple[float, float, float, float]) -> list[tuple[float, ...]]:
    """Return candles of a minute from open, high, low and close."""
    return [(float(i * MINUTE_MS), *candle) for i, candle in enumerate(prices)]


def trade(entry: int, entry_price: float, leave: int, exit_price: float) -> BenchTrade:
    """Return a trade from candle `entry` to candle `leave`."""
    return BenchTrade(
        entry_ms=entry * MINUTE_MS,
        entry_price=entry_price,
        exit_ms=leave * MINUTE_MS,
        exit_price=exit_price,
    )


def only(*prices: tuple[float, float, float, float]) -> BenchTrade:
    """Return the one trade after a signal at the close of the first candle."""
    candles = rows((100, 100, 100, 100), *prices)
    (found,) = trades_of(candles, LONG_AT_FIRST[: len(candles)], TICK)
    return found


# Candles


def test_the_same_seed_gives_the_same_candles_and_another_one_others() -> None:
    assert np.array_equal(synthetic(2_000, seed=7), synthetic(2_000, seed=7))
    assert not np.array_equal(synthetic(2_000, seed=7), synthetic(2_000, seed=8))


def test_few_candles_are_the_beginning_of_many() -> None:
    assert np.array_equal(synthetic(60_000)[:1_000], synthetic(1_000))


def test_candles_are_such_as_a_market_has() -> None:
    candles = synthetic(60_000)

    times, opened, high, low, close, volume = candles.T
    assert times[0] == START_MS
    assert np.all(np.diff(times) == MINUTE_MS)
    assert np.all(high >= np.maximum(opened, close))
    assert np.all(low <= np.minimum(opened, close))
    assert np.all(low > 0)
    assert np.all(volume > 0)
    ticks = candles[:, 1:5] / TICK
    assert np.allclose(ticks, np.round(ticks), rtol=0, atol=1e-6)
    gaps = np.round((opened[1:] - close[:-1]) / TICK)
    assert 0.4 < np.mean(gaps == 0) < 0.6
    assert np.abs(gaps).max() <= 9
    yearly = np.std(np.diff(np.log(close))) * math.sqrt(365 * 24 * 60)
    assert 0.45 < yearly < 0.56


def test_candles_survive_their_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    candles = synthetic(300)

    write_csv(tmp_path / "candles.csv", candles)

    assert np.array_equal(read_csv(tmp_path / "candles.csv"), candles)


# The right trades


def test_an_entry_fills_at_the_next_open_and_a_stop_at_its_price() -> None:
    assert only((200, 201, 199, 200), (200, 200, 195, 196)) == trade(1, 200.0, 2, 196.0)


def test_a_target_fills_at_its_price_when_touched() -> None:
    assert only((200, 201, 199, 200), (200, 212, 199, 200)) == trade(1, 200.0, 2, 212.0)


def test_levels_that_are_not_touched_leave_a_trade_open() -> None:
    candles = rows((100, 100, 100, 100), (200, 211.9, 196.1, 200))

    assert trades_of(candles, LONG_AT_FIRST[:2], TICK) == []


def test_levels_are_rounded_towards_the_entry() -> None:
    # 2 % below 200.3 are 196.294, 6 % above 212.318.
    assert only((200.3, 200.3, 196.3, 200)).exit_price == pytest.approx(196.3)
    assert only((200.3, 212.3, 200, 200)).exit_price == pytest.approx(212.3)


def test_stop_and_target_work_in_the_candle_of_the_entry() -> None:
    assert only((200, 201, 190, 200)) == trade(1, 200.0, 1, 196.0)
    assert only((200, 220, 199, 200)) == trade(1, 200.0, 1, 212.0)


def test_a_candle_with_both_levels_hits_the_stop_and_is_ambiguous() -> None:
    found = only((200, 201, 199, 200), (200, 213, 195, 200))

    assert found.exit_price == 196.0
    assert found.is_ambiguous


def test_an_open_beyond_a_level_fills_there_and_is_not_ambiguous() -> None:
    below = only((200, 201, 199, 200), (190, 213, 189, 200))
    above = only((200, 201, 199, 200), (220, 221, 190, 200))

    assert (below.exit_price, below.is_ambiguous) == (190.0, False)
    assert (above.exit_price, above.is_ambiguous) == (220.0, False)


def test_a_signal_counts_at_the_close_of_the_exit_but_not_before() -> None:
    quiet, stopped = (200, 201, 199, 200), (200, 200, 190, 195)
    candles = rows((100, 100, 100, 100), quiet, stopped, quiet, stopped)

    at_exit = trades_of(candles, [True, False, True, False, False], TICK)
    while_open = trades_of(candles, [True, True, False, False, False], TICK)

    assert [one.entry_ms // MINUTE_MS for one in at_exit] == [1, 3]
    assert [one.entry_ms // MINUTE_MS for one in while_open] == [1]


def test_a_crossing_is_where_the_line_rises_above_its_signal() -> None:
    closes = [100.0 + 10 * math.sin(i / 8) for i in range(300)]

    found = [i for i, crossed in enumerate(crossings(closes)) if crossed]

    # The lines need 26 + 9 - 1 closes and settle; a wave of 50.3 candles then crosses once.
    assert found[0] > 33
    assert {later - one for one, later in itertools.pairwise(found)} <= {50, 51, 52}
    assert all(closes[i] < 100 for i in found)


def test_crossings_are_where_the_indicator_of_scripts_has_them() -> None:
    closes = synthetic(5_000, sigma=0.01)[:, 4]

    line, signal = macd(closes)

    crossed = (line[:-1] <= signal[:-1]) & (line[1:] > signal[1:])
    assert crossings(closes.tolist())[1:] == crossed.tolist()


def test_the_right_trades_are_those_of_the_crossings() -> None:
    candles = synthetic(3_000, sigma=0.01).tolist()

    found = right_trades(candles, TICK)

    crossed = crossings([row[4] for row in candles])
    opens = {int(row[0]): i for i, row in enumerate(candles)}
    assert len(found) > 20
    assert all(crossed[opens[one.entry_ms] - 1] for one in found)
    assert all(a.exit_ms < b.entry_ms for a, b in itertools.pairwise(found))


# The comparison


def reasons(right: list[BenchTrade], found: list[BenchTrade], warm: int = 0) -> list[Reason]:
    compared = compare(right, found, tick=TICK, warm_until_ms=warm * MINUTE_MS)
    assert compared.equal == len(right) - sum(d.right is not None for d in compared.differences)
    return [difference.reason for difference in compared.differences]


def test_trades_within_a_tick_are_equal() -> None:
    right, found = [trade(1, 200.0, 5, 196.0)], [trade(1, 200.1, 5, 195.9)]

    compared = compare(right, found, tick=TICK, warm_until_ms=0)

    assert (compared.equal, compared.same_candles, compared.differences) == (1, 1, ())


def test_another_price_or_candle_is_a_difference() -> None:
    right = [trade(1, 200.0, 5, 196.0)]

    assert reasons(right, [trade(1, 200.2, 5, 196.0)]) == [Reason.ENTRY_PRICE]
    assert reasons(right, [trade(1, 200.0, 5, 195.8)]) == [Reason.EXIT_PRICE]
    assert reasons(right, [trade(1, 200.0, 6, 196.0)]) == [Reason.EXIT_TIME]
    assert reasons(right, []) == [Reason.MISSING]
    assert reasons([], right) == [Reason.EXTRA]


def test_an_ambiguous_candle_explains_another_exit() -> None:
    right = [only((200, 201, 199, 200), (200, 213, 195, 200))]

    assert reasons(right, [trade(1, 200.0, 2, 212.0)]) == [Reason.AMBIGUOUS]


def test_an_exit_in_the_candle_of_the_entry_is_told_from_other_exits() -> None:
    assert reasons([trade(1, 200.0, 1, 196.0)], [trade(1, 200.0, 2, 196.0)]) == [
        Reason.ENTRY_CANDLE
    ]


def test_a_trade_that_the_other_side_sat_through_follows_from_the_difference_before() -> None:
    right = [trade(1, 200.0, 5, 196.0), trade(7, 200.0, 9, 212.0), trade(20, 200.0, 22, 212.0)]
    found = [trade(1, 200.0, 8, 212.0), trade(20, 200.0, 22, 212.0)]

    assert reasons(right, found) == [Reason.EXIT_TIME, Reason.FOLLOWS]


def test_what_differs_while_averages_begin_is_put_down_to_that() -> None:
    right = [trade(1, 200.0, 5, 196.0), trade(30, 200.0, 32, 212.0)]

    assert reasons(right, [], warm=10) == [Reason.WARM_UP, Reason.MISSING]
