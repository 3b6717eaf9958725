"""Regular and conditional orders: what is accepted, what is refused with which code, what lives."""

from __future__ import annotations

from pathlib import Path

import pytest
from exchange_market import MINUTE_MS, START_MS, Exchange, e8, flat

from milo.exchange.feed import E8
from milo.exchange.notices import AlgoNotice
from milo.exchange.refusals import ApiRefusal
from milo.model import OrderStatus

LIMIT = {"type": "LIMIT", "side": "BUY", "timeInForce": "GTC", "quantity": "0.01", "price": "59000"}
MARKET = {"type": "MARKET", "side": "BUY", "quantity": "0.01"}
STOP = {"side": "SELL", "kind": "STOP_MARKET", "triggerPrice": "59000", "quantity": "0.01"}


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, flat("60000.0", 3))


def _code(exchange: Exchange, params: dict[str, str]) -> int:
    values = {name: value for name, value in params.items() if value != "-"}
    with pytest.raises(ApiRefusal) as caught:
        exchange.algo(**values) if "kind" in values else exchange.order(**values)
    return caught.value.code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"side": "-"}, -1102),
        ({"side": "LONG"}, -1117),
        ({"type": "-"}, -1102),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"timeInForce": "-"}, -1102),
        ({"timeInForce": "DAY"}, -1115),
        ({"quantity": "-"}, -1102),
        ({"quantity": "abc"}, -1102),
        ({"quantity": "1e-2"}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "-0.01"}, -4003),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "0.0000000001"}, -1111),
        ({"quantity": "100000"}, -4005),
        ({"price": "-"}, -1102),
        ({"price": "0"}, -4001),
        ({"price": "-1"}, -4001),
        ({"price": "59000.05"}, -4014),
        ({"price": "59000.055"}, -1111),
        ({"price": "9000000"}, -4002),
        ({"price": "100"}, -4013),
        ({"price": "64000"}, -4016),
        ({"side": "SELL", "price": "50000"}, -4024),
        ({"quantity": "0.001", "price": "40000.0"}, -4164),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newClientOrderId": "with blank"}, -4015),
        ({"positionSide": "LONG"}, -4061),
        ({"positionSide": "UP"}, -4060),
        ({"reduceOnly": "true"}, -2022),
        ({"reduceOnly": "yes"}, -1130),
        ({"timeInForce": "FOK"}, -5021),
        ({"timeInForce": "GTX", "price": "60500"}, -5022),
        ({"quantity": "4"}, -2019),
        ({"stopPrice": "59000"}, -1106),
        ({"newOrderRespType": "FULL"}, -1136),
        ({"selfTradePreventionMode": "MAYBE"}, -1130),
    ],
)
def test_a_wrong_limit_order_is_refused_with_the_exchanges_code(
    exchange: Exchange, changed: dict[str, str], code: int
) -> None:
    assert _code(exchange, LIMIT | changed) == code
    assert not exchange.state.orders


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"price": "59000"}, -1106),
        ({"timeInForce": "GTC"}, -1106),
        ({"quantity": "4"}, -2019),
    ],
)
def test_a_wrong_market_order_is_refused_with_the_exchanges_code(
    exchange: Exchange, changed: dict[str, str], code: int
) -> None:
    assert _code(exchange, MARKET | changed) == code


def test_the_notional_of_a_market_order_is_taken_at_the_mark_price(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("3000.00", 2), symbol="ETHUSDT")

    assert _code(exchange, MARKET | {"quantity": "0.006"}) == -4164
    assert exchange.buy("0.007").status is OrderStatus.FILLED


def test_the_leverage_limits_the_position_that_orders_could_make(exchange: Exchange) -> None:
    most = exchange.venue.rules["BTCUSDT"].max_notional(100)
    exchange.leverage(100)
    too_many = most * E8 // e8("59000") // E8 + 1

    assert _code(exchange, LIMIT | {"quantity": str(too_many)}) == -2027


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"kind": "LIMIT"}, -1116),
        ({"kind": "NOTHING"}, -1116),
        ({"algoType": "VP"}, -1130),
        ({"triggerPrice": "-"}, -1102),
        ({"triggerPrice": "0"}, -4006),
        ({"triggerPrice": "9000000"}, -4007),
        ({"triggerPrice": "59000.05"}, -4014),
        ({"triggerPrice": "60500"}, -2021),
        ({"triggerPrice": "60000"}, -2021),
        ({"kind": "TAKE_PROFIT_MARKET", "triggerPrice": "59000"}, -2021),
        ({"quantity": "-"}, -1102),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": "-", "reduceOnly": "true"}, -1106),
        ({"closePosition": "true", "quantity": "-", "reduceOnly": "false"}, -4138),
        ({"closePosition": "true", "quantity": "-"}, -4509),
        ({"kind": "STOP", "price": "58900", "closePosition": "true", "quantity": "-"}, -4136),
        ({"kind": "STOP"}, -1102),
        ({"price": "58900"}, -1106),
        ({"workingType": "LAST"}, -4031),
        ({"timeInForce": "GTE_GTC"}, -4509),
        ({"clientAlgoId": "ä"}, -4015),
        ({"kind": "TRAILING_STOP_MARKET"}, -1106),
        ({"kind": "TRAILING_STOP_MARKET", "triggerPrice": "-"}, -1102),
        ({"kind": "TRAILING_STOP_MARKET", "triggerPrice": "-", "callbackRate": "21"}, -1130),
        (
            {"kind": "TRAILING_STOP_MARKET", "triggerPrice": "-", "callbackRate": "1",
             "activatePrice": "59000"},
            -2021,
        ),
    ],
)  # fmt: skip
def test_a_wrong_conditional_order_is_refused_with_the_exchanges_code(
    exchange: Exchange, changed: dict[str, str], code: int
) -> None:
    assert _code(exchange, STOP | changed) == code
    assert not exchange.state.algos


def test_a_client_order_id_must_be_unique_among_open_orders_only(exchange: Exchange) -> None:
    first = exchange.order(**LIMIT, newClientOrderId="mine")

    assert _code(exchange, LIMIT | {"newClientOrderId": "mine"}) == -4116

    exchange.venue.orders.cancel("BTCUSDT", first.order_id, None)
    again = exchange.order(**LIMIT, newClientOrderId="mine")
    assert exchange.state.find_order("BTCUSDT", None, "mine") is again


def test_the_same_market_order_id_twice_is_two_fills_as_on_the_real_exchange(
    exchange: Exchange,
) -> None:
    for _ in range(2):
        exchange.order(**MARKET, newClientOrderId="twice")

    assert len(exchange.state.trades) == 2


def test_an_ioc_order_that_finds_nothing_expires(exchange: Exchange) -> None:
    order = exchange.order(**LIMIT | {"timeInForce": "IOC"})

    assert (order.status, order.filled) == (OrderStatus.EXPIRED, 0)


def test_a_reduce_only_order_never_turns_the_position(exchange: Exchange) -> None:
    exchange.buy("0.01")

    order = exchange.order(side="SELL", type="MARKET", quantity="0.05", reduceOnly="true")

    assert not exchange.state.position("BTCUSDT").is_open
    assert (order.status, order.filled) == (OrderStatus.EXPIRED, e8("0.01"))


def test_resting_reduce_only_orders_expire_with_the_position(exchange: Exchange) -> None:
    exchange.buy("0.01")
    resting = exchange.limit("SELL", "0.01", "61000", reduceOnly="true")

    exchange.sell("0.01")

    assert resting.status is OrderStatus.EXPIRED


def test_margin_is_needed_for_what_opens_not_for_what_closes(exchange: Exchange) -> None:
    exchange.leverage(1)
    exchange.buy("0.16")

    closing = exchange.limit("SELL", "0.16", "61000")

    assert closing.is_open
    assert _code(exchange, LIMIT | {"side": "SELL", "quantity": "0.2", "price": "61000"}) == -2019


def test_a_reversal_may_use_the_margin_that_it_frees(exchange: Exchange) -> None:
    exchange.leverage(1)
    exchange.buy("0.16")

    exchange.sell("0.3")

    assert exchange.state.position("BTCUSDT").qty == e8("-0.14")


def test_open_orders_hold_margin_until_they_end(exchange: Exchange) -> None:
    exchange.leverage(10)
    order = exchange.limit("BUY", "0.1", "59000")

    held = exchange.venue.clearing.available()
    exchange.venue.orders.cancel("BTCUSDT", order.order_id, None)

    assert held == e8("10000") - e8("590")
    assert exchange.venue.clearing.available() == e8("10000")


def test_a_symbol_takes_200_open_orders_and_no_more(exchange: Exchange) -> None:
    for _ in range(200):
        exchange.limit("BUY", "0.002", "59000")

    assert _code(exchange, LIMIT) == -2025


def test_the_account_takes_200_conditional_orders_and_no_more(exchange: Exchange) -> None:
    for _ in range(200):
        exchange.algo(**STOP)

    assert _code(exchange, STOP) == -4045


def test_cancelling_what_is_not_open_is_unknown(exchange: Exchange) -> None:
    filled = exchange.buy("0.01")

    with pytest.raises(ApiRefusal) as caught:
        exchange.venue.orders.cancel("BTCUSDT", filled.order_id, None)

    assert caught.value.code == -2011


# --- conditional orders ---------------------------------------------------------------------------


def test_a_second_stop_of_a_direction_is_refused_beside_stop_and_target(exchange: Exchange) -> None:
    exchange.buy("0.1")
    exchange.bracket("SELL", "59000", "61000")

    code = _code(exchange, STOP | {"closePosition": "true", "quantity": "-"})

    assert code == -4130
    assert len(list(exchange.state.all_open_algos())) == 2


def test_a_close_position_stop_must_be_on_the_closing_side(exchange: Exchange) -> None:
    exchange.sell("0.1")

    assert _code(exchange, STOP | {"closePosition": "true", "quantity": "-"}) == -4509


def test_a_close_position_stop_closes_all_that_there_is_at_its_trigger(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59900.0")])
    exchange.buy("0.1")
    stop = exchange.algo("SELL", "STOP_MARKET", triggerPrice="59500", closePosition="true")
    exchange.buy("0.05")

    exchange.play()

    assert exchange.state.trades[-1].qty == e8("0.15")
    assert stop.status is OrderStatus.FINISHED
    assert stop.order_id == exchange.state.trades[-1].order_id


def test_a_stop_of_the_position_expires_when_the_position_is_closed(exchange: Exchange) -> None:
    exchange.buy("0.1")
    stop, target = exchange.bracket("SELL", "59000", "61000")

    exchange.sell("0.1")

    assert (stop.status, target.status) == (OrderStatus.EXPIRED, OrderStatus.EXPIRED)


def test_a_stop_of_the_position_expires_when_the_position_turns(exchange: Exchange) -> None:
    exchange.buy("0.1")
    stop, _ = exchange.bracket("SELL", "59000", "61000")

    exchange.sell("0.2")

    assert stop.status is OrderStatus.EXPIRED


def test_a_stop_with_a_quantity_stays_and_is_rejected_at_its_trigger(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59900.0")])
    exchange.buy("0.1")
    stop = exchange.algo(
        "SELL", "STOP_MARKET", triggerPrice="59500", quantity="0.1", reduceOnly="true"
    )
    exchange.sell("0.1")
    assert stop.is_open

    exchange.play()

    assert (stop.status, stop.reject_reason) == (
        OrderStatus.REJECTED,
        "ReduceOnly Order is rejected.",
    )


def test_margin_is_looked_at_when_a_conditional_order_triggers(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60600.0", "59990.0", "60100.0")])
    stop = exchange.algo("BUY", "STOP_MARKET", triggerPrice="60500", quantity="40")

    exchange.play()

    assert stop.status is OrderStatus.REJECTED
    assert not exchange.state.trades


def test_a_finished_conditional_order_may_have_been_cancelled_in_the_engine(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, [*flat("60000.0"), ("60000.0", "60010.0", "59000.0", "59900.0")])
    algo = exchange.algo("BUY", "TAKE_PROFIT", triggerPrice="59500", price="58000", quantity="0.01")
    exchange.play()
    assert algo.status is OrderStatus.TRIGGERED

    exchange.venue.orders.cancel("BTCUSDT", algo.order_id, None)
    exchange.notices += exchange.venue.clearing.take_notices()

    last = exchange.notices[-1]
    assert isinstance(last, AlgoNotice)
    assert (last.algo.status, last.order and last.order.filled) == (OrderStatus.FINISHED, 0)


# --- funding --------------------------------------------------------------------------------------


def _before_midday_funding() -> int:
    return START_MS + 8 * 60 * MINUTE_MS - 2 * MINUTE_MS


def test_funding_is_settled_for_who_holds_at_its_time(tmp_path: Path) -> None:
    minutes = flat("60000.0", 2) + flat("61000.0", 2)
    exchange = Exchange(tmp_path, minutes, start_ms=_before_midday_funding())
    exchange.buy("0.1")
    wallet, isolated = exchange.state.wallet, exchange.state.position("BTCUSDT").wallet

    exchange.play()

    assert exchange.state.wallet - wallet == -e8("0.61")
    assert exchange.state.position("BTCUSDT").wallet - isolated == -e8("0.61")
    assert exchange.state.incomes[-1].kind == "FUNDING_FEE"


def test_who_enters_a_millisecond_before_a_settlement_pays_it(tmp_path: Path) -> None:
    minutes = flat("60000.0", 2) + flat("61000.0", 2)
    exchange = Exchange(tmp_path, minutes, start_ms=_before_midday_funding())
    exchange.play(2 - 1 / MINUTE_MS)

    exchange.buy("0.1")
    exchange.play()

    assert [line.kind for line in exchange.state.incomes][-1] == "FUNDING_FEE"


def test_who_enters_at_the_very_time_of_a_settlement_does_not_pay_it(tmp_path: Path) -> None:
    minutes = flat("60000.0", 2) + flat("61000.0", 2)
    exchange = Exchange(tmp_path, minutes, start_ms=_before_midday_funding())
    exchange.play(2)

    exchange.buy("0.1")
    exchange.play()

    assert [line.kind for line in exchange.state.incomes][-1] == "COMMISSION"


def test_funding_is_not_settled_for_who_has_left_before(tmp_path: Path) -> None:
    minutes = flat("60000.0", 2) + flat("61000.0", 2)
    exchange = Exchange(tmp_path, minutes, start_ms=_before_midday_funding())
    exchange.buy("0.1")
    exchange.play(1)
    exchange.sell("0.1")

    exchange.play()

    assert {income.kind for income in exchange.state.incomes} == {"TRANSFER", "COMMISSION"}
