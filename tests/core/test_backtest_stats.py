"""What a backtest's trades say: worked by hand, and against slow sums on random ledgers."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal

import numpy as np
import pytest

from milo.backtest.ledger import Ledger, Trade
from milo.backtest.stats import Group, measure
from milo.model import Direction, ExitReason
from tests.backtest_ledgers import HOUR_MS, START_MS, ledger, played, trade, walk

DAY_OF_HOURS = (10_000.0,) * 24


def test_a_group_by_hand() -> None:
    trades = (trade("30"), trade("-10"), trade("-5"), trade("0"))

    every = measure(ledger(trades, DAY_OF_HOURS), start_ms=START_MS).trades.all

    assert every == Group(
        trades=4,
        wins=1,
        losses=2,
        net=Decimal(15),
        win_rate=0.25,
        profit_factor=2.0,
        expectancy=3.75,
        expectancy_r=0.375,
    )


def test_fees_and_funding_decide_who_won() -> None:
    fee_eaten = trade("1", fees=Decimal("1.5"))
    saved = trade("1", fees=Decimal("1.5"), funding=Decimal("0.75"))

    trades = measure(ledger((fee_eaten, saved), DAY_OF_HOURS), start_ms=START_MS).trades

    assert (trades.all.wins, trades.all.losses, trades.all.net) == (1, 1, Decimal("-0.25"))
    assert trades.best == saved
    assert trades.worst == fee_eaten


def test_system_quality_by_hand() -> None:
    trades = tuple(trade(net) for net in ("20", "-10", "10"))  # R of 2, -1, 1

    stats = measure(ledger(trades, DAY_OF_HOURS), start_ms=START_MS)

    spread = math.sqrt(((2 - 2 / 3) ** 2 + (-1 - 2 / 3) ** 2 + (1 - 2 / 3) ** 2) / 2)
    assert stats.trades.sqn == pytest.approx(math.sqrt(3) * (2 / 3) / spread)


def test_a_trade_without_planned_loss_has_no_r() -> None:
    trades = (trade("20"), trade("-400", risk=Decimal(0)), trade("10"))

    stats = measure(ledger(trades, DAY_OF_HOURS), start_ms=START_MS)

    assert stats.trades.all.expectancy_r == pytest.approx(1.5)
    assert stats.trades.all.expectancy == pytest.approx(-370 / 3)


def test_rows_of_wins_and_losses_end_with_anything_else() -> None:
    nets = ("1", "2", "0", "3", "-1", "-1", "-1", "4", "-1", "-1")

    trades = measure(ledger(tuple(map(trade, nets)), DAY_OF_HOURS), start_ms=START_MS).trades

    assert (trades.longest_wins, trades.longest_losses) == (2, 3)


def test_average_win_loss_and_their_ratio() -> None:
    trades = measure(
        ledger((trade("30"), trade("10"), trade("-8")), DAY_OF_HOURS), start_ms=START_MS
    ).trades

    assert (trades.average_win, trades.average_loss, trades.payoff) == (20.0, -8.0, 2.5)


def test_holding_times_and_trades_a_day() -> None:
    short = trade(exit_ms=START_MS + HOUR_MS)
    long = trade(exit_ms=START_MS + 5 * HOUR_MS)

    trades = measure(ledger((short, long, short), DAY_OF_HOURS), start_ms=START_MS).trades

    assert trades.average_holding_ms == pytest.approx(7 / 3 * HOUR_MS)
    assert trades.longest_holding_ms == 5 * HOUR_MS
    assert trades.per_day == pytest.approx(3.0)


def test_what_is_still_open_counts_in_the_equity_only() -> None:
    trades = (trade("10"), trade("-900", is_open=True))

    stats = measure(ledger(trades, (10_010.0, 9_110.0)), start_ms=START_MS)

    assert (stats.trades.all.trades, stats.trades.all.losses) == (1, 0)
    assert (stats.open_trades, stats.open_net) == (1, Decimal(-900))
    assert stats.total_return == pytest.approx(-0.089)


def test_nothing_is_defined_without_trades_and_candles() -> None:
    stats = measure(ledger(), start_ms=START_MS)

    undefined = (
        stats.cagr, stats.buy_and_hold, stats.exposure, stats.volatility, stats.sharpe,
        stats.sortino, stats.calmar, stats.drawdown, stats.trades.sqn, stats.trades.average_win,
        stats.trades.average_loss, stats.trades.payoff, stats.trades.best, stats.trades.worst,
        stats.trades.average_holding_ms, stats.trades.longest_holding_ms, stats.trades.per_day,
        stats.trades.all.win_rate, stats.trades.all.profit_factor, stats.trades.all.expectancy,
        stats.trades.all.expectancy_r,
    )  # fmt: skip
    assert set(undefined) == {None}
    assert (stats.days, stats.months, stats.total_return) == (0, (), 0)


def test_profit_factor_and_payoff_are_undefined_without_losses() -> None:
    trades = measure(ledger((trade("5"),), DAY_OF_HOURS), start_ms=START_MS).trades

    assert (trades.all.profit_factor, trades.payoff, trades.average_loss) == (None, None, None)


def test_the_split_names_sides_symbols_reasons_and_scripts() -> None:
    trades = (
        trade("5"),
        trade("-2", direction=Direction.SHORT, symbol="ETHUSDT", exit_reason=ExitReason.STOP),
        trade("7", exit_reason=ExitReason.STOP, script="rsi"),
    )

    split = measure(ledger(trades, DAY_OF_HOURS), start_ms=START_MS).trades

    def nets(groups: dict[str, Group]) -> dict[str, Decimal]:
        return {name: group.net for name, group in groups.items()}

    assert nets(split.by_direction) == {"long": 12, "short": -2}
    assert nets(split.by_symbol) == {"BTCUSDT": 12, "ETHUSDT": -2}
    assert nets(split.by_reason) == {"stop": 5, "target": 5}
    assert nets(split.by_script) == {"macd": 3, "rsi": 7}


def test_exposure_and_buy_and_hold() -> None:
    book = ledger(
        equity=(1.0, 1.0, 1.0, 1.0),
        exposed=np.array([True, False, False, False]),
        buy_and_hold={"BTCUSDT": 0.5, "ETHUSDT": -0.1},
    )

    stats = measure(book, start_ms=START_MS)

    assert (stats.exposure, stats.buy_and_hold) == (0.25, pytest.approx(0.2))


@pytest.mark.parametrize("seed", range(10))
def test_figures_equal_slow_sums_on_random_ledgers(seed: int) -> None:
    book = played(walk(900, seed=seed), seed=seed, every=4)

    trades = measure(book, start_ms=START_MS).trades

    closed = [item for item in book.trades if not item.is_open]
    assert_group(trades.all, closed)
    for groups, attribute in (
        (trades.by_direction, "direction"),
        (trades.by_symbol, "symbol"),
        (trades.by_reason, "exit_reason"),
        (trades.by_script, "script"),
    ):
        assert sum(group.trades for group in groups.values()) == len(closed)
        for name, group in groups.items():
            assert_group(group, [item for item in closed if str(getattr(item, attribute)) == name])
    multiples = [float(item.net / item.risk) for item in closed]
    assert trades.sqn == pytest.approx(
        math.sqrt(len(closed)) * statistics.fmean(multiples) / statistics.stdev(multiples)
    )
    assert (trades.longest_wins, trades.longest_losses) == slow_rows(closed)
    assert trades.best is not None
    assert trades.worst is not None
    assert trades.best.net == max(item.net for item in closed)
    assert trades.worst.net == min(item.net for item in closed)


def assert_group(group: Group, trades: list[Trade]) -> None:
    won = [item.net for item in trades if item.net > 0]
    lost = [item.net for item in trades if item.net < 0]
    assert (group.trades, group.wins, group.losses) == (len(trades), len(won), len(lost))
    assert group.net == sum(item.net for item in trades)
    assert group.win_rate == len(won) / len(trades)
    expected = float(sum(won)) / -float(sum(lost)) if lost else None
    assert group.profit_factor == (None if expected is None else pytest.approx(expected))
    assert group.expectancy == pytest.approx(statistics.fmean(float(item.net) for item in trades))
    assert group.expectancy_r == pytest.approx(
        statistics.fmean(float(item.net / item.risk) for item in trades)
    )


def slow_rows(trades: list[Trade]) -> tuple[int, int]:
    wins = losses = longest_wins = longest_losses = 0
    for item in trades:
        wins = wins + 1 if item.net > 0 else 0
        losses = losses + 1 if item.net < 0 else 0
        longest_wins, longest_losses = max(longest_wins, wins), max(longest_losses, losses)
    return longest_wins, longest_losses


def test_the_random_ledgers_add_up() -> None:
    """The ledgers that these tests are made of: equity, wallet and trades tell the same."""
    book: Ledger = played(walk(900, seed=3), seed=3)

    closed = sum(item.net for item in book.trades if not item.is_open)
    assert book.wallet == 10_000 + closed
    left = sum(float(item.profit) for item in book.trades if item.is_open)
    assert book.equity[-1] == pytest.approx(float(book.wallet) + left)
    assert len(book.equity) == len(book.times_ms) == len(book.exposed)
