"""Where orders fill on the price path: levels, touches, jumps, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from exchange_market import Exchange, e8, flat

from milo.exchange.notices import AlgoNotice, OrderNotice
from milo.exchange.state import Trade
from milo.model import OrderStatus


def _fills(exchange: Exchange) -> list[tuple[str, int, bool]]:
    return [(trade.side.value, trade.price, trade.is_maker) for trade in exchange.state.trades]


def _last(exchange: Exchange) -> Trade:
    return exchange.state.trades[-1]


def test_a_market_order_fills_at_the_last_price_and_pays_the_taker_fee(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("60000.0", 2))

    order = exchange.buy("0.1")

    assert order.status is OrderStatus.FILLED
    assert _fills(exchange) == [("BUY", e8("60000.0"), False)]
    assert _last(exchange).fee == e8("3")


def test_a_resting_limit_fills_at_its_own_price_and_pays_the_maker_fee(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59500.0")])

    order = exchange.limit("BUY", "0.1", "59400.0")
    exchange.play()

    assert order.status is OrderStatus.FILLED
    assert _fills(exchange) == [("BUY", e8("59400.0"), True)]
    assert _last(exchange).fee == e8("1.188")


def test_a_touch_of_the_limit_is_a_fill(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60000.0", "59000.0", "59500.0")])

    order = exchange.limit("BUY", "0.1", "59000.0")
    exchange.play()

    assert order.status is OrderStatus.FILLED


def test_a_limit_beyond_the_market_trades_at_once_at_the_last_price(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("60000.0", 2))

    exchange.limit("BUY", "0.1", "60500.0")

    assert _fills(exchange) == [("BUY", e8("60000.0"), False)]


@pytest.mark.parametrize(
    ("low_first", "expected"),
    [(True, "59500.0"), (False, "60700.0")],
    ids=["the low is nearer to the open", "the high is nearer to the open"],
)
def test_stop_and_target_inside_one_candle_are_met_in_the_order_of_its_path(
    tmp_path: Path, low_first: bool, expected: str
) -> None:
    candle = ("60000.0", "61000.0", "59400.0", "60100.0")
    if not low_first:
        candle = ("60000.0", "60800.0", "59000.0", "60100.0")
    exchange = Exchange(tmp_path, [*flat("60000.0"), candle])
    exchange.buy("0.1")
    exchange.bracket("SELL", "59500.0", "60700.0")

    exchange.play()

    assert _last(exchange).price == e8(expected)
    assert not exchange.state.position("BTCUSDT").is_open


def test_a_stop_within_a_candle_fills_at_its_own_level_as_a_taker(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59900.0")])
    exchange.buy("0.1")
    exchange.algo("SELL", "STOP_MARKET", triggerPrice="59321.7", closePosition="true")

    exchange.play()

    assert _fills(exchange)[-1] == ("SELL", e8("59321.7"), False)


def test_a_stop_crossed_by_the_jump_between_candles_fills_at_the_open(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("58800.0", "58900.0", "58700.0", "58850.0")])
    exchange.buy("0.1")
    exchange.algo("SELL", "STOP_MARKET", triggerPrice="59500.0", closePosition="true")

    exchange.play()

    assert _last(exchange).price == e8("58800.0")


def test_a_resting_limit_crossed_by_a_jump_still_fills_at_its_own_price(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("58800.0", "58900.0", "58700.0", "58850.0")])

    exchange.limit("BUY", "0.1", "59500.0")
    exchange.play()

    assert _fills(exchange) == [("BUY", e8("59500.0"), True)]


def test_orders_are_met_nearest_first(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "58000.0", "58500.0")])
    for price in ("58800.0", "59600.0", "59200.0"):
        exchange.limit("BUY", "0.01", price)

    exchange.play()

    assert [trade.price for trade in exchange.state.trades] == [
        e8("59600.0"), e8("59200.0"), e8("58800.0"),
    ]  # fmt: skip


def test_at_one_price_the_older_order_comes_first(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "58000.0", "58500.0")])
    first = exchange.limit("BUY", "0.01", "59000.0")
    second = exchange.limit("BUY", "0.02", "59000.0")

    exchange.play()

    assert [trade.order_id for trade in exchange.state.trades] == [first.order_id, second.order_id]


def test_an_order_that_a_fill_triggered_is_met_further_along_the_same_path(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "58000.0", "58500.0")])
    exchange.algo("BUY", "TAKE_PROFIT", triggerPrice="59500.0", price="59000.0", quantity="0.01")

    exchange.play()

    assert _fills(exchange) == [("BUY", e8("59000.0"), True)]


def test_a_triggered_limit_that_the_market_has_passed_trades_at_the_market(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "61000.0", "59990.0", "60500.0")])
    exchange.algo("BUY", "STOP", triggerPrice="60400.0", price="60450.0", quantity="0.01")

    exchange.play()

    assert _fills(exchange) == [("BUY", e8("60400.0"), False)]


def test_the_position_is_liquidated_where_the_path_meets_its_liquidation_price(
    tmp_path: Path,
) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "50000.0", "51000.0")])
    exchange.leverage(20)
    exchange.buy("0.1")
    liquidation = exchange.venue.clearing.liquidation_price("BTCUSDT")
    before = exchange.state.wallet

    exchange.play()

    trade = _last(exchange)
    order = exchange.state.orders[trade.order_id]
    assert trade.price == liquidation
    assert order.client_id.startswith("autoclose-")
    assert before - exchange.state.wallet <= e8("300")
    assert exchange.state.incomes[-1].kind == "INSURANCE_CLEAR"


def test_a_jump_beyond_bankruptcy_loses_the_isolated_wallet_and_nothing_else(
    tmp_path: Path,
) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("40000.0", "40010.0", "39000.0", "40000.0")])
    exchange.leverage(20)
    exchange.buy("0.1")
    exchange.algo("SELL", "STOP_MARKET", triggerPrice="59000.0", closePosition="true")
    isolated, wallet = exchange.state.position("BTCUSDT").wallet, exchange.state.wallet

    exchange.play()

    assert wallet - exchange.state.wallet == pytest.approx(isolated, abs=100)
    assert wallet - exchange.state.wallet <= isolated
    assert not list(exchange.state.all_open_algos())


def test_a_liquidation_expires_the_symbols_orders_and_stops(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "50000.0", "51000.0")])
    exchange.buy("0.1")
    resting = exchange.limit("SELL", "0.01", "62000.0")
    target = exchange.algo("SELL", "TAKE_PROFIT_MARKET", triggerPrice="70000", closePosition="true")

    exchange.play()

    assert (resting.status, target.status) == (OrderStatus.EXPIRED, OrderStatus.EXPIRED)


def test_a_stop_before_the_liquidation_price_saves_the_rest(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "50000.0", "51000.0")])
    exchange.buy("0.1")
    exchange.algo("SELL", "STOP_MARKET", triggerPrice="59000.0", closePosition="true")

    exchange.play()

    assert [trade.price for trade in exchange.state.trades] == [e8("60000.0"), e8("59000.0")]


def test_a_trailing_stop_follows_the_best_price_and_fires_on_the_way_back(tmp_path: Path) -> None:
    exchange = Exchange(
        tmp_path,
        [*flat("60000.0"), ("60000.0", "62000.0", "59990.0", "62000.0"),
         ("62000.0", "62000.0", "60000.0", "60000.0")],
    )  # fmt: skip
    exchange.buy("0.1")
    exchange.algo(
        "SELL", "TRAILING_STOP_MARKET", quantity="0.1", callbackRate="1", reduceOnly="true"
    )

    exchange.play()

    assert _last(exchange).price == e8("61380.0")


def test_a_trailing_stop_waits_for_its_activation_price(tmp_path: Path) -> None:
    exchange = Exchange(
        tmp_path,
        [*flat("60000.0"), ("60000.0", "60100.0", "58000.0", "60100.0"),
         ("60100.0", "61500.0", "60100.0", "61500.0"),
         ("61500.0", "61500.0", "60000.0", "60000.0")],
    )  # fmt: skip
    exchange.leverage(5)
    exchange.buy("0.1")
    algo = exchange.algo(
        "SELL", "TRAILING_STOP_MARKET",
        quantity="0.1", callbackRate="2", activatePrice="61000.0", reduceOnly="true",
    )  # fmt: skip

    exchange.play()

    states = [n.algo for n in exchange.notices if isinstance(n, AlgoNotice)]
    assert [s.is_activated for s in states][:2] == [False, True]
    assert _last(exchange).price == e8("60270.0")
    assert algo.status is OrderStatus.FINISHED


def test_all_events_of_a_stop_come_in_the_order_of_the_real_exchange(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59900.0")])
    exchange.buy("0.1")
    exchange.bracket("SELL", "59500.0", "61000.0")
    exchange.take_notices()

    exchange.play()

    told = [
        notice.algo.status.value
        if isinstance(notice, AlgoNotice)
        else f"{notice.execution} {notice.order.status}"
        if isinstance(notice, OrderNotice)
        else type(notice).__name__
        for notice in exchange.notices
    ]
    assert told == [
        "TRIGGERING", "TRIGGERED", "NEW NEW", "AccountNotice", "TRADE FILLED", "FINISHED",
        "EXPIRED",
    ]  # fmt: skip
