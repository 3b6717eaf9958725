"""Order requests of both dialects, and the orders and fills in their answers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from milo.errors import ProtocolError
from milo.model import NewOrder, OrderStatus, OrderType, Side
from milo.wire.dialects import ASTER, BINANCE, Dialect
from milo.wire.limits import Cost, Lane
from milo.wire.orders import cancel_order, open_orders, place_order, query_order, user_trades
from milo.wire.rest import Effect, Security

ORDER: dict[str, Any] = {
    "orderId": 283194212, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": "m1-e",
    "price": "0.00", "origQty": "0.010", "executedQty": "0.010", "cumQty": "0.010",
    "timeInForce": "GTC", "type": "MARKET", "reduceOnly": False, "closePosition": False,
    "side": "BUY", "positionSide": "BOTH", "stopPrice": "0.00", "origType": "MARKET",
    "updateTime": 1591702613943,
}  # fmt: skip

ALGO: dict[str, Any] = {
    "algoId": 2146760, "clientAlgoId": "m1-s", "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET", "symbol": "BTCUSDT", "side": "SELL", "positionSide": "BOTH",
    "timeInForce": "GTE_GTC", "quantity": "0.000", "algoStatus": "NEW", "actualOrderId": "",
    "actualPrice": "0.00000", "triggerPrice": "57000.00", "price": "0.00", "closePosition": True,
    "reduceOnly": True, "createTime": 1750485492076, "updateTime": 1750485492076,
    "triggerTime": 0, "goodTillDate": 0, "icebergQuantity": None, "activatePrice": "",
}  # fmt: skip

MARKET = NewOrder(
    symbol="BTCUSDT", side=Side.BUY, type=OrderType.MARKET, client_id="m1-e", qty=Decimal("0.010")
)
STOP = NewOrder(
    symbol="BTCUSDT",
    side=Side.SELL,
    type=OrderType.STOP_MARKET,
    client_id="m1-s",
    trigger_price=Decimal("57000.0"),
    is_close_position=True,
)


def new_order(**changes: Any) -> NewOrder:
    given: dict[str, Any] = {
        "symbol": "BTCUSDT", "side": Side.SELL, "type": OrderType.MARKET, "client_id": "id",
        "qty": Decimal(1),
    }  # fmt: skip
    return NewOrder(**(given | changes))


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


# --- placing


def test_a_market_order_is_sent_plain_and_asks_for_its_result() -> None:
    request = place_order(BINANCE, MARKET)

    assert (request.method, request.path) == ("POST", "/fapi/v1/order")
    assert request.params == (
        ("symbol", "BTCUSDT"),
        ("side", "BUY"),
        ("type", "MARKET"),
        ("quantity", "0.01"),
        ("newClientOrderId", "m1-e"),
        ("newOrderRespType", "RESULT"),
    )
    assert request.security is Security.SIGNED
    assert request.effect is Effect.ORDER
    assert request.cost == Cost(orders=1)
    assert request.lane is Lane.NORMAL


def test_a_limit_order_is_good_till_cancelled_unless_told_otherwise() -> None:
    limit = {"type": OrderType.LIMIT, "price": Decimal("9000.50")}

    plain = dict(place_order(BINANCE, new_order(**limit)).params)
    post_only = dict(place_order(BINANCE, new_order(**limit, time_in_force="GTX")).params)

    assert (plain["timeInForce"], plain["price"]) == ("GTC", "9000.5")
    assert post_only["timeInForce"] == "GTX"


def test_a_stop_goes_to_the_algo_service_of_binance() -> None:
    request = place_order(BINANCE, STOP)

    assert (request.method, request.path) == ("POST", "/fapi/v1/algoOrder")
    assert request.params == (
        ("algoType", "CONDITIONAL"),
        ("symbol", "BTCUSDT"),
        ("side", "SELL"),
        ("type", "STOP_MARKET"),
        ("triggerPrice", "57000"),
        ("workingType", "CONTRACT_PRICE"),
        ("closePosition", "true"),
        ("clientAlgoId", "m1-s"),
    )
    assert request.cost == Cost(orders=1)
    assert request.lane is Lane.PROTECTIVE


def test_a_stop_goes_to_the_order_route_of_aster() -> None:
    request = place_order(ASTER, STOP)

    assert (request.method, request.path) == ("POST", "/fapi/v1/order")
    assert request.params == (
        ("symbol", "BTCUSDT"),
        ("side", "SELL"),
        ("type", "STOP_MARKET"),
        ("stopPrice", "57000"),
        ("workingType", "CONTRACT_PRICE"),
        ("closePosition", "true"),
        ("newClientOrderId", "m1-s"),
    )
    assert request.lane is Lane.PROTECTIVE


def test_a_stop_limit_with_quantity_carries_both_prices() -> None:
    order = new_order(
        type=OrderType.STOP,
        price=Decimal("56900"),
        trigger_price=Decimal("57000"),
        is_reduce_only=True,
    )

    params = dict(place_order(BINANCE, order).params)

    assert params["price"] == "56900"
    assert params["triggerPrice"] == "57000"
    assert params["quantity"] == "1"
    assert params["reduceOnly"] == "true"
    assert params["timeInForce"] == "GTC"


def test_a_reducing_market_order_uses_the_protective_lane() -> None:
    request = place_order(BINANCE, new_order(is_reduce_only=True))

    assert request.lane is Lane.PROTECTIVE
    assert dict(request.params)["reduceOnly"] == "true"


def test_numbers_are_sent_without_exponent() -> None:
    params = dict(place_order(BINANCE, new_order(qty=Decimal("1E+3"))).params)
    small = dict(place_order(BINANCE, new_order(qty=Decimal("1E-7"))).params)

    assert params["quantity"] == "1000"
    assert small["quantity"] == "0.0000001"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_id": ""}, "client order id"),
        ({"client_id": "a" * 37}, "client order id"),
        ({"client_id": "ä"}, "client order id"),
        ({"client_id": "a b"}, "client order id"),
        ({"qty": None}, "quantity"),
        ({"qty": Decimal(0)}, "quantity"),
        ({"qty": Decimal(-1)}, "quantity"),
        ({"price": Decimal(1)}, "takes no price"),
        ({"type": OrderType.LIMIT}, "needs a price"),
        ({"trigger_price": Decimal(1)}, "no trigger price"),
        ({"type": OrderType.STOP_MARKET}, "needs a trigger price"),
        ({"type": OrderType.STOP, "trigger_price": Decimal(1)}, "needs a price"),
        ({"type": OrderType.TRAILING_STOP_MARKET}, "callback"),
        ({"is_close_position": True}, "whole position"),
        (
            {"type": OrderType.STOP_MARKET, "trigger_price": Decimal(1), "is_close_position": True},
            "neither quantity",
        ),
        (
            {
                "type": OrderType.TAKE_PROFIT_MARKET, "trigger_price": Decimal(1), "qty": None,
                "is_close_position": True, "is_reduce_only": True,
            },
            "neither quantity",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", [BINANCE, ASTER])
def test_an_order_that_contradicts_itself_is_not_built(
    dialect: Dialect, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        place_order(dialect, new_order(**changes))


# --- cancelling, asking, listing


@pytest.mark.parametrize(
    ("dialect", "is_conditional", "path", "params"),
    [
        (BINANCE, True, "/fapi/v1/algoOrder", (("clientAlgoId", "m1"),)),
        (BINANCE, False, "/fapi/v1/order", (("symbol", "X"), ("origClientOrderId", "m1"))),
        (ASTER, True, "/fapi/v1/order", (("symbol", "X"), ("origClientOrderId", "m1"))),
        (ASTER, False, "/fapi/v1/order", (("symbol", "X"), ("origClientOrderId", "m1"))),
    ],
)
def test_orders_are_addressed_in_the_service_that_holds_them(
    dialect: Dialect, is_conditional: bool, path: str, params: tuple[tuple[str, str], ...]
) -> None:
    cancel = cancel_order(dialect, "X", "m1", is_conditional=is_conditional)
    query = query_order(dialect, "X", "m1", is_conditional=is_conditional)

    assert (cancel.method, cancel.path, cancel.params) == ("DELETE", path, params)
    assert (query.method, query.path, query.params) == ("GET", path, params)
    assert (cancel.effect, cancel.lane) == (Effect.ORDER, Lane.PROTECTIVE)
    assert (query.effect, query.lane) == (Effect.READ, Lane.NORMAL)


def test_binance_lists_conditional_orders_before_the_regular_ones_they_become() -> None:
    paths = [request.path for request in open_orders(BINANCE, "BTCUSDT")]

    assert paths == ["/fapi/v1/openAlgoOrders", "/fapi/v1/openOrders"]


def test_aster_lists_all_orders_in_one_place() -> None:
    assert [request.path for request in open_orders(ASTER, None)] == ["/fapi/v1/openOrders"]


def test_lists_over_all_symbols_weigh_more() -> None:
    assert [request.cost.weight for request in open_orders(BINANCE, None)] == [40, 40]
    assert [request.cost.weight for request in open_orders(BINANCE, "BTCUSDT")] == [1, 1]


# --- answers


def test_an_order_answer_without_average_price_says_so() -> None:
    report = place_order(BINANCE, MARKET).parse(body_of(ORDER))

    assert report.avg_price is None
    assert report.status is OrderStatus.FILLED
    assert (report.client_id, report.venue_id) == ("m1-e", 283194212)
    assert (report.qty, report.filled_qty) == (Decimal("0.010"), Decimal("0.010"))
    assert not report.is_conditional


@pytest.mark.parametrize(("sent", "expected"), [("0.00000", None), ("60000.1", Decimal("60000.1"))])
def test_an_average_price_of_zero_is_none(sent: str, expected: Decimal | None) -> None:
    report = place_order(ASTER, MARKET).parse(body_of(ORDER | {"avgPrice": sent}))

    assert report.avg_price == expected


def test_a_stop_on_aster_is_read_from_the_order_route() -> None:
    row = ORDER | {
        "type": "STOP_MARKET", "origType": "STOP_MARKET", "status": "NEW", "stopPrice": "57000",
        "closePosition": True, "origQty": "0", "executedQty": "0", "avgPrice": "0.0",
    }  # fmt: skip

    report = place_order(ASTER, STOP).parse(body_of(row))

    assert report.type is OrderType.STOP_MARKET
    assert report.trigger_price == Decimal(57000)
    assert report.is_close_position
    assert not report.is_conditional


def test_a_conditional_order_of_the_algo_service_is_read() -> None:
    report = place_order(BINANCE, STOP).parse(body_of(ALGO))

    assert report.is_conditional
    assert (report.client_id, report.venue_id) == ("m1-s", 2146760)
    assert (report.type, report.status) == (OrderType.STOP_MARKET, OrderStatus.NEW)
    assert (report.trigger_price, report.qty) == (Decimal(57000), Decimal(0))
    assert (report.is_close_position, report.is_reduce_only) == (True, True)
    assert report.triggered_venue_id is None
    assert report.avg_price is None


def test_a_triggered_conditional_order_names_the_order_it_became() -> None:
    row = ALGO | {
        "algoStatus": "FINISHED", "actualOrderId": "8886774", "actualPrice": "56990.5",
        "actualQty": "0.010",
    }  # fmt: skip

    report = query_order(BINANCE, "BTCUSDT", "m1-s", is_conditional=True).parse(body_of(row))

    assert report.triggered_venue_id == 8886774
    assert report.avg_price == Decimal("56990.5")
    assert report.filled_qty == Decimal("0.010")


@pytest.mark.parametrize("empty", [None, ""])
def test_fields_that_are_empty_or_missing_are_absent(empty: str | None) -> None:
    row = {key: value for key, value in ALGO.items() if key not in ("actualOrderId", "price")}

    report = place_order(BINANCE, STOP).parse(
        body_of(row | {"quantity": empty, "actualPrice": empty})
    )

    assert (report.qty, report.price, report.avg_price) == (0, 0, None)


def test_a_list_of_open_orders_may_be_empty() -> None:
    for request in open_orders(BINANCE, None):
        assert request.parse(b"[]") == ()


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (ORDER | {"status": "HALTED"}, "status"),
        (ORDER | {"side": "HOLD"}, "side"),
        (ORDER | {"type": "ICEBERG"}, "type"),
        ({key: value for key, value in ORDER.items() if key != "orderId"}, "orderId"),
        (ORDER | {"origQty": "NaN"}, "number"),
    ],
)
def test_an_unknown_state_or_a_missing_field_is_a_named_error(
    row: dict[str, Any], field: str
) -> None:
    with pytest.raises(ProtocolError, match=field):
        query_order(BINANCE, "BTCUSDT", "m1-e", is_conditional=False).parse(body_of(row))


def test_an_unknown_algo_state_is_a_named_error() -> None:
    with pytest.raises(ProtocolError, match="algoStatus"):
        place_order(BINANCE, STOP).parse(body_of(ALGO | {"algoStatus": "ASLEEP"}))


def test_fills_carry_fee_and_profit_and_no_client_id() -> None:
    row = {
        "symbol": "BTCUSDT", "id": 359311803, "orderId": 4577210976, "side": "BUY",
        "price": "103867.90", "qty": "0.001", "realizedPnl": "-0.00540000",
        "quoteQty": "103.86790", "commission": "0.04154716", "commissionAsset": "USDT",
        "time": 1750500318407, "positionSide": "BOTH", "maker": False, "buyer": True,
    }  # fmt: skip

    request = user_trades("BTCUSDT", start_ms=1, order_id=4577210976)
    (fill,) = request.parse(body_of([row]))

    assert dict(request.params) == {
        "symbol": "BTCUSDT", "orderId": "4577210976", "startTime": "1", "limit": "500",
    }  # fmt: skip
    assert (fill.trade_id, fill.venue_id, fill.client_id) == (359311803, 4577210976, "")
    assert (fill.realized, fill.fee) == (Decimal("-0.0054"), Decimal("0.04154716"))
    assert (fill.side, fill.is_maker, fill.fee_asset) == (Side.BUY, False, "USDT")
