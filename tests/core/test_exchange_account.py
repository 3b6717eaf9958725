"""Margin, liquidation, entry and realised profit of one position: the exchange's own numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from exchange_market import e8

from milo.exchange.account import (
    Position,
    apply_fill,
    bankruptcy_price,
    funding_payment,
    initial_margin,
    liquidation_price,
    maintenance_margin,
    order_cost,
)
from milo.exchange.feed import E8
from milo.exchange.fixed import E16, money, show, show_e16, times
from milo.exchange.rules import Bracket, LotRule, SymbolRules

_NO_CAP = 10**12 * E8


def _bracket(ratio: str, cum: str = "0", floor: str = "0", cap: int = _NO_CAP) -> Bracket:
    return Bracket(floor=e8(floor), cap=cap, max_leverage=100, ratio=e8(ratio), cum=e8(cum))


def _rules(*brackets: Bracket) -> SymbolRules:
    lot = LotRule(min_qty=1, max_qty=_NO_CAP, step=1)
    return SymbolRules(
        symbol="BTCUSDT",
        is_trading=True,
        price_places=2,
        qty_places=3,
        tick=e8("0.1"),
        min_price=0,
        max_price=0,
        lot=lot,
        market_lot=lot,
        min_notional=0,
        price_up=0,
        price_down=0,
        max_orders=200,
        liquidation_fee=e8("0.0125"),
        brackets=brackets,
    )


def _position(qty: str, entry: str, wallet: str) -> Position:
    return Position("BTCUSDT", qty=e8(qty), entry_e16=e8(entry) * E8, wallet=e8(wallet))


@pytest.mark.parametrize(
    ("qty", "entry", "wallet", "ratio", "cum", "expected"),
    [
        ("0.1", "60000", "600", "0.004", "0", "54216.8675"),
        ("-0.1", "60000", "600", "0.004", "0", "65737.0518"),
        ("10", "60000", "30000", "0.005", "50", "57281.4070"),
        ("109.488", "32481.980", "1535443.01", "0.025", "16300", "18778.73"),
        ("3683.979", "1456.84", "1535443.01", "0.10", "135365", "1114.78"),
    ],
)
def test_liquidation_prices_are_those_of_the_exchanges_formula(
    qty: str, entry: str, wallet: str, ratio: str, cum: str, expected: str
) -> None:
    position = _position(qty, entry, wallet)

    price = liquidation_price(position, _rules(_bracket(ratio, cum)))

    places = len(expected.partition(".")[2])
    assert f"{price / E8:.{places}f}" == expected


def test_a_position_that_no_price_can_ruin_has_no_liquidation_price() -> None:
    position = _position("0.1", "60000", "7000")

    price = liquidation_price(position, _rules(_bracket("0.004")))

    assert price == 0


@pytest.mark.parametrize("qty", ["3", "-3"])
def test_the_bracket_is_the_one_of_the_notional_at_liquidation(qty: str) -> None:
    rules = _rules(
        _bracket("0.004", cap=e8("100000")),
        _bracket("0.01", "600", "100000", e8("200000")),
        _bracket("0.05", "8600", "200000"),
    )
    position = _position(qty, "60000", "15000")

    price = liquidation_price(position, rules)

    notional = abs(times(price, position.qty))
    margin = position.wallet + position.unrealized(price)
    assert margin == pytest.approx(
        maintenance_margin(notional, rules.bracket_of(notional)), abs=1000
    )


def test_margin_falls_below_maintenance_only_beyond_the_liquidation_price() -> None:
    rules = _rules(_bracket("0.005", "50"))
    position = _position("10", "60000", "30000")
    price = liquidation_price(position, rules)

    left = {
        at: position.wallet + position.unrealized(at)
        - maintenance_margin(times(at, position.qty), rules.brackets[0])
        for at in (price + E8, price - E8)
    }  # fmt: skip

    assert left[price + E8] > 0 > left[price - E8]


@pytest.mark.parametrize("qty", ["0.3", "-0.3"])
def test_a_fill_at_the_bankruptcy_price_loses_the_isolated_wallet_and_no_more(qty: str) -> None:
    position = _position(qty, "61234.5", "700.12345678")

    loss = -position.unrealized(bankruptcy_price(position))

    assert position.wallet - E8 // 10**6 <= loss <= position.wallet


def test_order_cost_is_initial_margin_plus_open_loss_as_in_the_official_example() -> None:
    price, mark, one = e8("9253.30"), e8("9259.84"), E8

    costs = [order_cost(price, one, 20, sign=sign, mark=mark) for sign in (1, -1)]

    assert initial_margin(price, one, 20) == e8("462.665")
    assert [show(cost) for cost in costs] == ["462.665", "469.205"]


def test_the_average_entry_moves_with_additions_and_stays_with_reductions() -> None:
    position = Position("BTCUSDT")

    apply_fill(position, e8("0.1"), e8("60000"), 10)
    apply_fill(position, e8("0.2"), e8("60300"), 10)
    entry = position.entry_e16
    apply_fill(position, e8("-0.15"), e8("61000"), 10)

    assert show_e16(entry) == show_e16(position.entry_e16) == "60200"
    assert money(position.realized) == "120.00000000"


def test_a_reversal_closes_at_the_old_entry_and_opens_at_the_fill_price() -> None:
    position = Position("BTCUSDT")
    apply_fill(position, e8("0.1"), e8("60000"), 10)

    effect = apply_fill(position, e8("-0.3"), e8("59000"), 10)

    assert money(effect.realized) == "-100.00000000"
    assert (effect.closed_qty, effect.opened_qty) == (e8("0.1"), e8("0.2"))
    assert (position.qty, position.entry_e16) == (e8("-0.2"), e8("59000") * E8)
    assert position.wallet == e8("1180")


def test_isolated_margin_is_released_in_proportion_and_wholly_at_the_end() -> None:
    position = Position("BTCUSDT")
    apply_fill(position, e8("0.3"), e8("60000"), 10)

    part = apply_fill(position, e8("-0.1"), e8("60000"), 10)
    rest = apply_fill(position, e8("-0.2"), e8("60000"), 10)

    assert (show(part.released), show(rest.released)) == ("600", "1200")
    assert position.wallet == 0


def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it() -> None:
    long, short = _position("0.1", "60000", "600"), _position("-0.1", "60000", "600")

    amounts = [funding_payment(p, e8("61000"), e8("0.0001")) for p in (long, short)]

    assert [money(amount) for amount in amounts] == ["-0.61000000", "0.61000000"]


def test_funding_never_takes_more_than_the_isolated_wallet() -> None:
    position = _position("0.1", "60000", "0.5")

    assert funding_payment(position, e8("61000"), e8("0.0001")) == -e8("0.5")


def test_break_even_counts_the_fees_and_what_was_realised() -> None:
    position = Position("BTCUSDT")
    apply_fill(position, e8("0.1"), e8("60000"), 10)
    position.carry -= e8("3")

    assert show_e16(position.break_even_e16()) == "60030"


# The real exchange computes in binary floating point and cuts: some of its commissions, and one
# realised profit, lie 1e-8 below the exact value (103854.20 * 0.001 * 0.0004 = 0.041541680 is
# recorded as 0.04154167).
_FLOAT_DUST = 1


def test_recorded_fills_of_the_real_exchange_give_its_own_realised_profit(
    shared_data: Path,
) -> None:
    path = shared_data / "exchange" / "userTrades_btcusdt_testnet_first97.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    position = Position("BTCUSDT")

    for row in rows:
        sign = 1 if row["side"] == "BUY" else -1
        effect = apply_fill(position, sign * e8(row["qty"]), e8(row["price"]), 20)
        fee = times(times(e8(row["price"]), e8(row["qty"])), e8("0.0004"))
        assert abs(effect.realized - e8(row["realizedPnl"])) <= _FLOAT_DUST, row
        assert abs(fee - e8(row["commission"])) <= _FLOAT_DUST, row

    assert len(rows) == 97
    assert E16 == E8**2
