"""One test for each row of the truth table in docs/backtest.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo.backtest.execution import run
from milo.backtest.ledger import FillAt, Intrabar, Ledger, Trade
from milo.backtest.slot import FundingHistory
from milo.candles import Candles
from milo.model import Direction, ExitReason
from milo.orders.margin import liquidation_price
from milo.ta import atr
from tests.backtest_markets import (
    START_MS,
    Row,
    assumptions_of,
    candles_of,
    decisions_of,
    slot_of,
)

HOUR_MS = 3_600_000
LONG = "long(10%margin@10x,sl=2%,tp=6%)"
"""0.2 BTC at 50,000: stop 49,000, target 53,000."""
SHORT = "short(10%margin@10x,sl=2%,tp=6%)"
NONE = "donothing"


def flat(price: float = 50_000.0) -> Row:
    return (price, price, price, price)


def executed(
    rows: Sequence[Row],
    actions: Sequence[str],
    *,
    finer: Candles | None = None,
    funding: FundingHistory | None = None,
    interval: str = "1h",
    skipped: Sequence[int] = (),
    **changes: Any,
) -> Ledger:
    """Return what the actions, padded with nothing, do on the rows."""
    candles = candles_of(rows, interval, skipped=skipped)
    padded = [*actions, *[NONE] * (len(rows) - len(actions))]
    slot = slot_of(candles, interval=interval, finer=finer, funding=funding)
    return run([slot], [decisions_of(padded)], assumptions_of(**changes))


def only(ledger: Ledger) -> Trade:
    (trade,) = ledger.trades
    return trade


def open_of(index: int) -> int:
    return START_MS + index * HOUR_MS


def close_of(index: int) -> int:
    return open_of(index + 1) - 1


def test_every_row_of_the_table_has_a_test() -> None:
    text = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text()
    rows = re.findall(r"^\| (e\d\d) \|", text, re.MULTILINE)
    tests = [name[5:8] for name in globals() if re.match(r"test_e\d\d_", name)]

    assert rows == sorted(set(rows))
    assert sorted(tests) == rows


# --- entries --------------------------------------------------------------------------------------


def test_e01_an_entry_fills_at_the_next_open_also_after_a_pause() -> None:
    rows = [flat(), (50_100.0, 50_200.0, 50_000.0, 50_150.0)]

    for pause in (0, 1):
        trade = only(executed(rows, [LONG], skipped=[1] * pause))

        assert trade.entry_price == 50_100
        assert (trade.entry_index, trade.entry_ms) == (1, open_of(1 + pause))


def test_e02_with_fill_close_an_entry_fills_at_its_own_close() -> None:
    trade = only(executed([flat(), flat(50_100.0)], [LONG], fill_at=FillAt.CLOSE))

    assert trade.entry_price == 50_000
    assert (trade.entry_index, trade.entry_ms) == (0, close_of(0))


def test_e03_a_signal_on_the_last_candle_fills_nothing() -> None:
    assert executed([flat(), flat()], [NONE, LONG]).trades == ()
    assert only(executed([flat(), flat()], [NONE, LONG], fill_at=FillAt.CLOSE)).entry_index == 1


def test_e04_the_size_is_worked_out_at_the_close_of_the_signal() -> None:
    trade = only(executed([flat(), flat(50_200.0)], [LONG]))

    assert trade.qty == Decimal("0.2")


def test_e05_stop_and_target_are_measured_from_the_fill_and_rounded_toward_it() -> None:
    trade = only(executed([flat(), flat(50_123.4)], [LONG]))

    assert trade.stop_price == Decimal("49121.0")  # 49,120.932
    assert trade.target_price == Decimal("53130.8")  # 53,130.804


def test_e06_slippage_moves_an_entry_to_the_next_tick_against_us() -> None:
    rows = [flat(), flat()]
    slippage = Decimal("0.000001")

    assert only(executed(rows, [LONG], slippage=slippage)).entry_price == Decimal("50000.1")
    assert only(executed(rows, [SHORT], slippage=slippage)).entry_price == Decimal("49999.9")
    assert only(executed(rows, [LONG])).entry_price == 50_000


# --- stop and target ------------------------------------------------------------------------------


def test_e07_a_stop_within_a_candle_fills_at_its_price_less_slippage() -> None:
    rows = [flat(), flat(), (49_500.0, 49_600.0, 48_000.0, 48_500.0), flat()]

    trade = only(executed(rows, [LONG]))
    slipped = only(executed(rows, ["long(10%margin@10x,sl=49000)"], slippage=Decimal("0.001")))

    assert (trade.exit_price, trade.exit_reason) == (49_000, ExitReason.STOP)
    assert (trade.exit_index, trade.exit_ms) == (2, close_of(2))
    assert trade.profit == -200
    assert slipped.exit_price == 48_951


def test_e08_stop_and_target_work_in_the_entrys_own_candle() -> None:
    low, high = (50_000.0, 50_000.0, 48_900.0, 50_000.0), (50_000.0, 53_100.0, 50_000.0, 50_000.0)

    for row, reason in ((low, ExitReason.STOP), (high, ExitReason.TARGET)):
        trade = only(executed([flat(), row, flat()], [LONG]))
        assert (trade.exit_reason, trade.exit_index) == (reason, 1)
        at_close = only(executed([row, flat(), flat()], [LONG], fill_at=FillAt.CLOSE))
        assert at_close.is_open


def test_e09_touching_the_stop_is_a_hit() -> None:
    touching, missing = (
        (50_000.0, 50_000.0, 49_000.0, 50_000.0),
        (50_000.0,) * 2
        + (
            49_000.1,
            50_000.0,
        ),
    )

    trade = only(executed([flat(), flat(), touching], [LONG]))

    assert (trade.exit_reason, trade.exit_price) == (ExitReason.STOP, 49_000)
    assert trade.is_extreme
    assert only(executed([flat(), flat(), missing], [LONG])).is_open


def test_e10_touching_the_target_is_a_hit() -> None:
    touching, missing = (
        (50_000.0, 53_000.0, 50_000.0, 50_000.0),
        (
            50_000.0,
            52_999.9,
            50_000.0,
            50_000.0,
        ),
    )

    trade = only(executed([flat(), flat(), touching], [LONG]))

    assert (trade.exit_reason, trade.exit_price) == (ExitReason.TARGET, 53_000)
    assert trade.is_extreme
    assert only(executed([flat(), flat(), missing], [LONG])).is_open


def test_e11_a_gap_beyond_the_stop_fills_at_the_open() -> None:
    trade = only(executed([flat(), flat(), flat(48_500.0)], [LONG]))

    assert (trade.exit_price, trade.exit_reason) == (48_500, ExitReason.STOP)
    assert trade.exit_ms == open_of(2)
    assert trade.is_gap


def test_e12_a_gap_beyond_the_target_fills_at_the_better_open() -> None:
    trade = only(executed([flat(), flat(), flat(54_000.0)], [LONG]))

    assert (trade.exit_price, trade.exit_reason) == (54_000, ExitReason.TARGET)
    assert trade.exit_ms == open_of(2)
    assert trade.is_gap


WIDE = (51_500.0, 53_500.0, 48_500.0, 51_500.0)
"""Meets both, and opens nearer to its high."""


def test_e13_both_in_one_candle_is_the_stop_and_ambiguous() -> None:
    ledger = executed([flat(), flat(), WIDE], [LONG])

    assert only(ledger).exit_reason is ExitReason.STOP
    assert only(ledger).is_ambiguous
    assert ledger.ambiguous == 1


def test_e14_tradingviews_path_goes_to_the_nearer_extreme_first() -> None:
    low = (50_000.0, 53_500.0, 48_500.0, 51_500.0)
    tie = (51_000.0, 53_500.0, 48_500.0, 51_500.0)
    cases = (
        (WIDE, LONG, ExitReason.TARGET),
        (low, LONG, ExitReason.STOP),
        (tie, LONG, ExitReason.STOP),
        ((49_000.0, 51_500.0, 46_500.0, 50_000.0), SHORT, ExitReason.TARGET),
        ((49_500.0, 51_500.0, 46_500.0, 50_000.0), SHORT, ExitReason.STOP),
    )

    for row, action, reason in cases:
        ledger = executed([flat(), flat(), row], [action], intrabar=Intrabar.NEARER_OPEN)
        assert only(ledger).exit_reason is reason
        assert ledger.ambiguous == 1


def quarters(rows: Sequence[Row], index: int = 2) -> Candles:
    """Return candles of 15 minutes inside of one of an hour."""
    return candles_of(rows, "15m", open_of(index))


def finer(rows: Candles) -> dict[str, Any]:
    return {"finer": rows, "intrabar": Intrabar.FINER, "finer_interval": "15m"}


UP: Row = (51_500.0, 53_500.0, 51_000.0, 52_000.0)
DOWN: Row = (52_000.0, 52_000.0, 48_500.0, 49_000.0)


def test_e15_finer_candles_tell_which_level_came_first() -> None:
    jump: Row = (48_500.0, 53_500.0, 48_500.0, 49_000.0)
    calm: Row = (51_500.0, 51_600.0, 51_400.0, 51_500.0)

    for rows, reason, price in (
        ([UP, DOWN, flat(), flat()], ExitReason.TARGET, 53_000),
        ([DOWN, UP, flat(), flat()], ExitReason.STOP, 49_000),
        ([calm, jump, flat(), flat()], ExitReason.STOP, 49_000),
    ):
        ledger = executed([flat(), flat(), WIDE], [LONG], **finer(quarters(rows)))
        assert (only(ledger).exit_reason, only(ledger).exit_price) == (reason, price)
        assert not only(ledger).is_ambiguous
        assert ledger.ambiguous == 0


def test_e16_without_the_finer_candles_it_is_the_stop_and_ambiguous() -> None:
    late = Candles.from_rows([(open_of(2) + 900_000, *UP, 1.0)])
    both = quarters([WIDE, flat(), flat(), flat()])

    for rows in (late, both, Candles.empty()):
        ledger = executed([flat(), flat(), WIDE], [LONG], **finer(rows))
        assert only(ledger).exit_reason is ExitReason.STOP
        assert ledger.ambiguous == 1


# --- costs ----------------------------------------------------------------------------------------


def test_e17_both_sides_pay_the_taker_fee() -> None:
    ledger = executed([flat(), flat(), flat(48_500.0)], [LONG])

    assert only(ledger).fees == Decimal("5") + Decimal("4.85")
    assert ledger.wallet == 10_000 - 300 - only(ledger).fees
    assert ledger.fees == only(ledger).fees


def test_e18_every_exit_at_market_slips_but_a_liquidation() -> None:
    slippage = Decimal("0.001")
    target = only(executed([flat(), flat(), flat(54_000.0)], [LONG], slippage=slippage))
    closed = only(executed([flat(), flat(), flat()], [LONG, "close"], slippage=slippage))
    forced = only(
        executed([flat(), flat(), flat(40_000.0)], ["long(10%margin@10x)"], slippage=slippage)
    )

    assert target.exit_price == 53_946
    assert closed.exit_price == 49_950
    assert forced.exit_reason is ExitReason.LIQUIDATION
    assert forced.exit_price > 40_000  # the bankruptcy price, whatever the market


def test_e19_funding_is_settled_at_stored_times() -> None:
    history = FundingHistory(
        times_ms=np.array([open_of(0), open_of(2) + 7, open_of(4)], np.int64),
        rates=np.array([0.01, 0.001, -0.0005]),
    )

    ledger = executed([flat()] * 6, [LONG], funding=history)

    # 10,000 USDT of notional: 10 paid, 5 received; the first one came before the entry.
    assert only(ledger).funding == -10 + 5
    assert (ledger.settlements, ledger.unknown_settlements) == (2, 0)
    assert ledger.funding == -5


def test_e20_where_no_rate_is_stored_the_assumed_one_counts() -> None:
    ledger = executed([flat()] * 18, [LONG], funding_rate=Decimal("0.0001"))
    history = FundingHistory(times_ms=np.array([open_of(8)], np.int64), rates=np.array([0.001]))
    partly = executed([flat()] * 18, [LONG], funding=history, funding_rate=Decimal("0.0001"))

    assert only(ledger).funding == -2  # at 08:00 and 16:00
    assert (ledger.settlements, ledger.unknown_settlements) == (2, 2)
    assert only(partly).funding == -11
    assert (partly.settlements, partly.unknown_settlements) == (2, 1)


def test_e21_a_settlement_comes_before_what_fills_at_its_open() -> None:
    rate = {"funding_rate": Decimal("0.0001")}
    entering = executed([flat()] * 10, [NONE] * 7 + [LONG], **rate)
    leaving = executed([flat()] * 10, [LONG] + [NONE] * 6 + ["close"], **rate)

    assert (only(entering).entry_index, entering.settlements) == (8, 0)
    assert (only(leaving).exit_index, leaving.settlements) == (8, 1)


def test_e22_a_settlement_is_priced_by_the_open_or_in_a_gap_by_the_close_before() -> None:
    rows = [*[flat()] * 8, (50_500.0, 50_800.0, 50_400.0, 50_600.0), flat(50_700.0)]
    rate = {"funding_rate": Decimal("0.0001")}

    at_open = only(executed(rows, [LONG], **rate))
    in_gap = only(executed([*rows[:7], flat(50_300.0), *rows[8:]], [LONG], skipped=[8], **rate))

    assert at_open.funding == Decimal("-1.01")
    assert in_gap.funding == Decimal("-1.006")


def test_e23_a_settlement_within_a_candle_comes_before_its_exit() -> None:
    rows = [flat(), flat(), (50_500.0, 50_500.0, 48_000.0, 48_500.0)]

    ledger = executed(rows, [LONG], interval="1d", funding_rate=Decimal("0.0001"))

    # 08:00 and 16:00 of the first day; 00:00, 08:00 and 16:00 of the second, at its open.
    assert ledger.settlements == 2 + 3
    assert only(ledger).funding == -2 - 3 * Decimal("1.01")


# --- liquidation ----------------------------------------------------------------------------------


def test_e24_a_jump_beyond_the_bankruptcy_price_costs_the_isolated_wallet() -> None:
    ledger = executed([flat(), flat(), flat(30_000.0)], ["long(10%margin@10x)"])
    trade = only(ledger)

    assert trade.exit_reason is ExitReason.LIQUIDATION
    assert ledger.liquidations == 1
    assert trade.exit_price == 45_000
    assert trade.profit == -1_000  # margin, and the fee found nothing left
    assert trade.fees == 5


def test_e25_between_liquidation_and_bankruptcy_the_stop_fills_first() -> None:
    action = "long(10%margin@10x)"
    entered = only(executed([flat(), flat()], [action]))
    assert entered.liquidation_price is not None
    price = float(round(entered.liquidation_price - 20))

    trade = only(executed([flat(), flat(), flat(price)], [action]))

    assert 45_000 < price < entered.liquidation_price < entered.stop_price
    assert (trade.exit_reason, trade.exit_price) == (ExitReason.STOP, Decimal(price))


def test_e26_funding_can_move_the_liquidation_price_before_the_stop() -> None:
    history = FundingHistory(times_ms=np.array([open_of(2)], np.int64), rates=np.array([0.09]))
    rows = [flat(), flat(), (50_000.0, 50_000.0, 49_400.0, 49_400.0), flat(49_400.0)]

    trade = only(executed(rows, ["long(10%margin@10x,sl=2%)"], funding=history))

    # 900 of 1,000 USDT of margin are gone: 0.2 BTC carry 100 less the maintenance margin.
    assert trade.exit_reason is ExitReason.LIQUIDATION
    assert trade.exit_price > trade.stop_price
    assert trade.net >= -1_000 - 5


# --- rounding and refusals ------------------------------------------------------------------------


def test_e27_quantities_are_rounded_down_to_the_step() -> None:
    trade = only(executed([flat(51_234.0), flat(51_234.0)], [LONG]))

    assert trade.qty == Decimal("0.195")  # 0.19518...


def test_e28_what_is_too_small_is_refused_in_the_words_of_a_live_run() -> None:
    ledger = executed([flat(), flat()], [LONG], start_balance=Decimal(30))

    (refusal,) = ledger.refusals
    assert ledger.trades == ()
    assert refusal.action == LONG
    assert refusal.reason == (
        f"{LONG} not sent: quantity 0.0006000 BTCUSDT rounds down to 0, below the exchange's "
        "minimum 0.001"
    )


# --- exits and reversals --------------------------------------------------------------------------


def test_e29_a_part_is_closed_at_the_next_open_with_its_share_of_the_costs() -> None:
    rows = [*[flat()] * 9, flat(51_000.0), flat(49_000.0)]
    actions = [LONG] + [NONE] * 7 + ["close(50%)"]

    part, rest = executed(rows, actions, funding_rate=Decimal("0.0001")).trades

    assert (part.qty, part.exit_index, part.exit_price) == (Decimal("0.1"), 9, 51_000)
    assert part.exit_reason is ExitReason.CLOSE
    assert part.profit == 100
    assert part.fees == Decimal("2.5") + Decimal("2.55")
    assert part.funding == Decimal("-0.5")
    assert part.risk == rest.risk
    assert (rest.qty, rest.exit_reason, rest.profit) == (Decimal("0.1"), ExitReason.STOP, -100)


def test_e30_a_part_that_is_too_small_is_refused() -> None:
    ledger = executed([flat()] * 4, [LONG, NONE, "close(0.1%)"])

    assert only(ledger).is_open
    assert ledger.refusals[0].reason == (
        "close(0.1%): 0.1 % of 0.2 rounds down to 0, below the exchange's minimum 0.001"
    )


def test_e31_close_closes_everything_at_the_next_open() -> None:
    trade = only(executed([flat(), flat(), flat(50_300.0)], [LONG, "close"]))

    assert (trade.exit_price, trade.exit_reason) == (50_300, ExitReason.CLOSE)
    assert (trade.exit_index, trade.exit_ms) == (2, open_of(2))


def test_e32_an_opposite_entry_closes_and_opens_with_what_the_account_then_has() -> None:
    rows = [flat(), flat(), flat(51_000.0), flat(51_000.0)]

    first, second = executed(rows, [LONG, SHORT]).trades

    assert (first.exit_reason, first.exit_price) == (ExitReason.REVERSE, 51_000)
    assert (second.direction, second.entry_price) == (Direction.SHORT, 51_000)
    assert second.entry_ms == first.exit_ms == open_of(2)
    # 10 % of 10,189.9 USDT at 10x, at the price of the signal: 0.2037... BTC.
    assert second.qty == Decimal("0.203")


def test_e33_a_refused_reversal_leaves_the_position_open() -> None:
    ledger = executed([flat()] * 4, [LONG, "short(10%margin@10x,sl=49000)"])

    assert only(ledger).is_open
    assert "must lie above the price" in ledger.refusals[0].reason


def test_e34_a_repeated_signal_does_nothing() -> None:
    trade = only(executed([flat()] * 5, [LONG] * 5))

    assert trade.qty == Decimal("0.2")
    assert trade.is_open


def test_e35_a_standing_signal_enters_again_on_the_candle_that_closed_the_position() -> None:
    stopped = (50_000.0, 50_000.0, 48_900.0, 50_000.0)

    first, second = executed([flat(), flat(), stopped, flat()], [LONG] * 4).trades

    assert first.exit_index == 2
    assert second.entry_index == 3


def test_e36_without_a_stop_the_engine_places_its_own() -> None:
    trade = only(executed([flat(), flat()], ["long(10%margin@10x)"]))
    contract = slot_of(candles_of([flat()])).contract
    liquidation = liquidation_price(
        Direction.LONG,
        qty=trade.qty,
        entry_price=trade.entry_price,
        isolated_wallet=Decimal(1_000),
        brackets=contract.brackets,
    )

    assert liquidation is not None
    exact = 50_000 - (50_000 - liquidation) * Decimal("0.9")
    assert 0 <= trade.stop_price - exact < Decimal("0.1")


def test_e37_distances_in_atr_use_the_candle_of_the_signal() -> None:
    rows = [(50_000.0, 50_000.0 + i, 49_990.0, 50_000.0) for i in range(20)]
    candles = candles_of(rows)
    value = float(atr(candles.high, candles.low, candles.close, 14)[17])

    trade = only(executed(rows, [NONE] * 17 + ["long(10%margin@10x,sl=2atr,tp=3atr)"]))

    assert trade.entry_index == 18
    assert 0 <= float(trade.stop_price) - (50_000 - 2 * value) < 0.1
    assert 0 <= 50_000 + 3 * value - float(trade.target_price or 0) < 0.1


def test_e38_a_fill_beyond_its_own_stop_is_closed_at_once() -> None:
    for action, price in (("long(10%margin@10x,sl=49500)", 49_400.0), (
        "long(10%margin@50x,sl=49500)",
        50_400.0,
    )):  # fmt: skip
        ledger = executed([flat(), flat(price)], [action])
        trade = only(ledger)
        assert (trade.exit_reason, trade.exit_price) == (ExitReason.STOP, trade.entry_price)
        assert trade.exit_ms == trade.entry_ms == open_of(1)
        assert "closed at once" in ledger.notes[-1]


def test_e39_a_stop_that_slippage_puts_beyond_the_market_closes_at_once() -> None:
    trade = only(
        executed([flat(), flat()], ["long(10%margin@10x,sl=0.2%)"], slippage=Decimal("0.004"))
    )

    assert (trade.entry_price, trade.exit_price) == (50_200, 49_800)
    assert trade.exit_reason is ExitReason.STOP
    assert trade.exit_ms == trade.entry_ms


def test_e40_the_exchange_refuses_what_the_open_has_made_too_dear() -> None:
    ledger = executed([flat(), flat(52_000.0)], ["long(100%margin@10x,sl=2%)"])

    assert ledger.trades == ()
    assert ledger.refusals[0].reason == "entry refused by the exchange: Margin is insufficient."


def test_e41_an_open_beyond_the_stop_comes_before_a_market_order() -> None:
    trade = only(executed([flat(), flat(), flat(48_500.0)], [LONG, "close"]))
    stopped, second = executed([flat(), flat(), flat(48_500.0)], [LONG, SHORT]).trades

    assert (trade.exit_reason, trade.exit_price) == (ExitReason.STOP, 48_500)
    assert stopped.exit_reason is ExitReason.STOP
    assert (second.direction, second.entry_price) == (Direction.SHORT, 48_500)


# --- limits ---------------------------------------------------------------------------------------


def test_e42_a_day_that_has_lost_too_much_opens_nothing_more() -> None:
    rows = [flat(), flat(), flat(48_500.0), *[flat()] * 24]
    actions = [LONG, NONE, *[LONG] * 25]

    ledger = executed(rows, actions, max_daily_loss=Decimal(2))

    lost, again = ledger.trades
    assert lost.exit_index == 2
    # The candle that closes at midnight is decided on the new day.
    assert again.entry_ms == open_of(24)
    assert ledger.refusals[0].reason.startswith("the day's loss of 3.10% has reached the limit")
    assert ledger.halted_days == 1


def two_symbols(actions: Sequence[Sequence[str]], **changes: Any) -> Ledger:
    candles = candles_of([flat()] * 6)
    slots = [slot_of(candles, symbol=symbol) for symbol in ("BTCUSDT", "WAGMIUSDT")]
    return run(slots, [decisions_of(list(each)) for each in actions], assumptions_of(**changes))


def test_e43_positions_and_entries_of_other_symbols_count() -> None:
    action = "long(10%margin@2x,sl=2%)"
    both = [[action] * 6, [action] * 6]

    ledger = two_symbols(both, max_positions=1)

    assert [trade.symbol for trade in ledger.trades] == ["BTCUSDT"]
    assert ledger.refusals[0].reason == "1 positions are open already (--max-positions 1)"
    assert len(two_symbols(both, max_positions=2).trades) == 2


def test_e44_an_entry_that_risks_too_much_is_refused() -> None:
    ledger = executed([flat(), flat()], [LONG], max_entry_risk=Decimal(2))

    assert "2.10% of the equity" in ledger.refusals[0].reason
    assert "the limit is 2.00% (--max-risk)" in ledger.refusals[0].reason


def test_e45_more_leverage_than_allowed_is_refused() -> None:
    ledger = executed([flat(), flat()], [LONG], max_leverage=Decimal(5))

    assert ledger.refusals[0].reason == "leverage 10x is above the limit of 5x (--max-leverage)"


def test_e46_a_symbol_that_is_not_allowed_is_refused() -> None:
    ledger = executed([flat(), flat()], [LONG], allowed_symbols=("ETHUSDT",))

    assert ledger.refusals[0].reason == (
        "BTCUSDT is not among the allowed symbols ETHUSDT (--symbols)"
    )


# --- several, and the end -------------------------------------------------------------------------


def test_e47_several_symbols_share_one_wallet() -> None:
    action = "long(60%margin@2x,sl=2%)"

    ledger = two_symbols([[action] + [NONE] * 5, [NONE] + [action] * 5])

    first, second = (trade.qty for trade in ledger.trades)
    # 60 % of the equity for the first; the second has what is left, with 1 % headroom.
    assert first == Decimal("0.24")
    assert Decimal("0.15") < second < Decimal("0.16")
    assert ledger.wallet == 10_000 - ledger.fees


def test_e48_what_is_open_at_the_end_is_closed_on_paper() -> None:
    ledger = executed([flat(), flat(), flat(50_500.0)], [LONG])
    trade = only(ledger)

    assert trade.is_open
    assert (trade.exit_index, trade.exit_price, trade.profit) == (2, 50_500, 100)
    assert trade.fees == 5
    assert ledger.wallet == 9_995
    assert ledger.equity.tolist() == pytest.approx([10_000, 9_995, 10_095], rel=1e-12)
    assert ledger.exposed.tolist() == [False, True, True]


def test_e49_a_run_of_equal_refused_signals_counts_once() -> None:
    far = "long(1%margin@500x)"

    ledger = executed([flat()] * 9, [far] * 4 + [NONE] + [far] * 4)

    assert ledger.refusal_count == 2
    assert [refusal.index for refusal in ledger.refusals] == [0, 5]
