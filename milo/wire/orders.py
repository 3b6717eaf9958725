"""Orders and fills over REST, regular and conditional, for both dialects (layer 1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import msgspec

from milo.model import Fill, NewOrder, OrderReport, OrderStatus, OrderType, Side
from milo.money import plain
from milo.wire.dialects import Dialect
from milo.wire.limits import Cost, Lane
from milo.wire.rest import (
    Effect,
    Params,
    Request,
    Security,
    WireStruct,
    decimal_of,
    decimal_or_zero,
    decode,
    given,
    present,
    read_nothing,
)

_ORDER_PATH = "/fapi/v1/order"
_ALGO_PATH = "/fapi/v1/algoOrder"
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CLOSES_POSITION = (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
_HAS_LIMIT_PRICE = (OrderType.LIMIT, OrderType.STOP, OrderType.TAKE_PROFIT)


# --- shapes -------------------------------------------------------------------------------------


class _Order(WireStruct):
    symbol: str
    order_id: int
    client_order_id: str
    side: Side
    type: OrderType
    status: OrderStatus
    orig_qty: Decimal
    executed_qty: Decimal
    price: Decimal
    reduce_only: bool
    update_time: int = 0
    avg_price: Decimal | None = None
    stop_price: Decimal | None = None
    close_position: bool = False


class _AlgoOrder(WireStruct):
    symbol: str
    algo_id: int
    client_algo_id: str
    side: Side
    order_type: OrderType
    algo_status: OrderStatus
    reduce_only: bool = False
    close_position: bool = False
    create_time: int = 0
    update_time: int = 0
    quantity: msgspec.Raw = msgspec.Raw()
    price: msgspec.Raw = msgspec.Raw()
    trigger_price: msgspec.Raw = msgspec.Raw()
    actual_order_id: msgspec.Raw = msgspec.Raw()
    actual_price: msgspec.Raw = msgspec.Raw()
    actual_qty: msgspec.Raw = msgspec.Raw()


class _Trade(WireStruct):
    symbol: str
    id: int
    order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    realized_pnl: Decimal
    commission: Decimal
    commission_asset: str
    maker: bool
    time: int


_ORDER = msgspec.json.Decoder(_Order)
_ORDERS = msgspec.json.Decoder(list[_Order])
_ALGO_ORDER = msgspec.json.Decoder(_AlgoOrder)
_ALGO_ORDERS = msgspec.json.Decoder(list[_AlgoOrder])
_TRADES = msgspec.json.Decoder(list[_Trade])


# --- requests -----------------------------------------------------------------------------------


def place_order(dialect: Dialect, order: NewOrder) -> Request[OrderReport]:
    """Return the request that places the order, through the service that takes its type.

    Reducing and conditional orders use the protective lane. Raises ValueError where the order
    contradicts itself.
    """
    check_order(order)
    is_algo = order.is_conditional and dialect.has_algo_service
    return Request(
        method="POST",
        path=_ALGO_PATH if is_algo else _ORDER_PATH,
        params=_algo_params(order) if is_algo else _order_params(order),
        security=Security.SIGNED,
        effect=Effect.ORDER,
        cost=Cost(orders=1),
        lane=Lane.PROTECTIVE if _protects(order) else Lane.NORMAL,
        parse=_read_algo_order if is_algo else _read_order,
    )


def try_order(dialect: Dialect, order: NewOrder) -> Request[None]:
    """Return the request that has a regular order checked and nothing placed.

    The Algo service has no such check: ValueError for an order that would go there.
    """
    check_order(order)
    if order.is_conditional and dialect.has_algo_service:
        raise ValueError("conditional orders cannot be tested here: the Algo service has no test")
    return Request(
        method="POST",
        path=f"{_ORDER_PATH}/test",
        params=_order_params(order),
        security=Security.SIGNED,
        parse=read_nothing,
    )


def cancel_order(
    dialect: Dialect, symbol: str, client_id: str, *, is_conditional: bool
) -> Request[None]:
    path, params = _by_client_id(dialect, symbol, client_id, is_conditional=is_conditional)
    return Request(
        method="DELETE",
        path=path,
        params=params,
        security=Security.SIGNED,
        effect=Effect.ORDER,
        lane=Lane.PROTECTIVE,
        parse=read_nothing,
    )


def query_order(
    dialect: Dialect, symbol: str, client_id: str, *, is_conditional: bool
) -> Request[OrderReport]:
    path, params = _by_client_id(dialect, symbol, client_id, is_conditional=is_conditional)
    return Request(
        method="GET",
        path=path,
        params=params,
        security=Security.SIGNED,
        parse=_read_algo_order if path == _ALGO_PATH else _read_order,
    )


def open_orders(
    dialect: Dialect, symbol: str | None
) -> tuple[Request[tuple[OrderReport, ...]], ...]:
    """Return the requests whose answers together are all open orders, in the order to send them.

    Conditional orders are asked for first: one that triggers between the two answers is then seen
    twice rather than not at all.
    """
    regular = _listed("/fapi/v1/openOrders", symbol, _read_orders)
    if not dialect.has_algo_service:
        return (regular,)
    return (_listed("/fapi/v1/openAlgoOrders", symbol, _read_algo_orders), regular)


def recent_orders(
    dialect: Dialect, symbol: str, *, is_conditional: bool, start_ms: int | None = None
) -> Request[tuple[OrderReport, ...]]:
    """Return the request for a symbol's orders of any state, of one service, oldest first.

    Without `start_ms` the newest of the last days; at most 500.
    """
    is_algo = is_conditional and dialect.has_algo_service
    return Request(
        method="GET",
        path="/fapi/v1/allAlgoOrders" if is_algo else "/fapi/v1/allOrders",
        params=given(("symbol", symbol), ("startTime", start_ms), ("limit", 500)),
        security=Security.SIGNED,
        cost=Cost(weight=5),
        parse=_read_algo_orders if is_algo else _read_orders,
    )


def user_trades(
    symbol: str,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int = 500,
    order_id: int | None = None,
) -> Request[tuple[Fill, ...]]:
    """Return the request for our fills; the venue takes at most 7 days and 1000 rows at once."""
    return Request(
        method="GET",
        path="/fapi/v1/userTrades",
        params=given(
            ("symbol", symbol),
            ("orderId", order_id),
            ("startTime", start_ms),
            ("endTime", end_ms),
            ("limit", limit),
        ),
        security=Security.SIGNED,
        cost=Cost(weight=5),
        parse=_read_trades,
    )


def check_order(order: NewOrder) -> None:
    """Raise ValueError where the order contradicts itself; the venue would refuse it too."""
    if not _CLIENT_ID.fullmatch(order.client_id):
        raise ValueError(f"not a client order id: {order.client_id!r}")
    if order.type is OrderType.TRAILING_STOP_MARKET:
        raise ValueError("a trailing stop needs a callback rate, which an order does not carry")
    if order.is_conditional and order.trigger_price is None:
        raise ValueError(f"{order.type} needs a trigger price")
    if not order.is_conditional and order.trigger_price is not None:
        raise ValueError(f"{order.type} takes no trigger price")
    if (order.price is not None) != (order.type in _HAS_LIMIT_PRICE):
        raise ValueError(
            f"{order.type} {'takes no' if order.price is not None else 'needs a'} price"
        )
    if order.is_close_position:
        _check_close_position(order)
    elif order.qty is None or order.qty <= 0:
        raise ValueError(f"{order.type} needs a quantity above 0")


def _check_close_position(order: NewOrder) -> None:
    if order.type not in _CLOSES_POSITION:
        raise ValueError(f"{order.type} cannot close a whole position")
    if order.qty is not None or order.is_reduce_only:
        raise ValueError("an order that closes the position takes neither quantity nor reduce-only")


def _protects(order: NewOrder) -> bool:
    return order.is_conditional or order.is_reduce_only or order.is_close_position


def _order_params(order: NewOrder) -> Params:
    is_conditional = order.is_conditional
    return given(
        *_common_params(order, trigger_name="stopPrice"),
        ("newClientOrderId", order.client_id),
        # A market order's answer then tells the fill; a conditional one has none to tell.
        ("newOrderRespType", None if is_conditional else "RESULT"),
    )


def _algo_params(order: NewOrder) -> Params:
    return given(
        ("algoType", "CONDITIONAL"),
        *_common_params(order, trigger_name="triggerPrice"),
        ("clientAlgoId", order.client_id),
    )


def _common_params(
    order: NewOrder, *, trigger_name: str
) -> tuple[tuple[str, str | int | None], ...]:
    has_price = order.type in _HAS_LIMIT_PRICE
    return (
        ("symbol", order.symbol),
        ("side", order.side.value),
        ("type", order.type.value),
        ("timeInForce", (order.time_in_force or "GTC") if has_price else None),
        ("quantity", _text(order.qty)),
        ("price", _text(order.price)),
        (trigger_name, _text(order.trigger_price)),
        ("workingType", "CONTRACT_PRICE" if order.is_conditional else None),
        ("reduceOnly", "true" if order.is_reduce_only else None),
        ("closePosition", "true" if order.is_close_position else None),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _by_client_id(
    dialect: Dialect, symbol: str, client_id: str, *, is_conditional: bool
) -> tuple[str, Params]:
    if is_conditional and dialect.has_algo_service:
        return _ALGO_PATH, given(("clientAlgoId", client_id))
    return _ORDER_PATH, given(("symbol", symbol), ("origClientOrderId", client_id))


def _listed(
    path: str, symbol: str | None, parse: Callable[[bytes], tuple[OrderReport, ...]]
) -> Request[tuple[OrderReport, ...]]:
    return Request(
        method="GET",
        path=path,
        params=given(("symbol", symbol)),
        security=Security.SIGNED,
        cost=Cost(weight=1 if symbol else 40),
        parse=parse,
    )


# --- answers ------------------------------------------------------------------------------------


def _read_order(body: bytes) -> OrderReport:
    return _report(decode(body, _ORDER, what="order"))


def _read_orders(body: bytes) -> tuple[OrderReport, ...]:
    return tuple(_report(row) for row in decode(body, _ORDERS, what="openOrders"))


def _report(order: _Order) -> OrderReport:
    return OrderReport(
        symbol=order.symbol,
        client_id=order.client_order_id,
        venue_id=order.order_id,
        side=order.side,
        type=order.type,
        status=order.status,
        qty=order.orig_qty,
        filled_qty=order.executed_qty,
        avg_price=present(order.avg_price),
        price=order.price,
        trigger_price=order.stop_price or Decimal(0),
        is_reduce_only=order.reduce_only,
        is_close_position=order.close_position,
        is_conditional=False,
        update_ms=order.update_time,
    )


def _read_algo_order(body: bytes) -> OrderReport:
    return _algo_report(decode(body, _ALGO_ORDER, what="algoOrder"))


def _read_algo_orders(body: bytes) -> tuple[OrderReport, ...]:
    return tuple(_algo_report(row) for row in decode(body, _ALGO_ORDERS, what="openAlgoOrders"))


def _algo_report(order: _AlgoOrder) -> OrderReport:
    triggered_id = decimal_of(order.actual_order_id)
    return OrderReport(
        symbol=order.symbol,
        client_id=order.client_algo_id,
        venue_id=order.algo_id,
        side=order.side,
        type=order.order_type,
        status=order.algo_status,
        qty=decimal_or_zero(order.quantity),
        filled_qty=decimal_or_zero(order.actual_qty),
        avg_price=present(decimal_of(order.actual_price)),
        price=decimal_or_zero(order.price),
        # Trailing stops, which a user may have placed by hand, have none.
        trigger_price=decimal_or_zero(order.trigger_price),
        is_reduce_only=order.reduce_only,
        is_close_position=order.close_position,
        is_conditional=True,
        update_ms=order.update_time or order.create_time,
        triggered_venue_id=int(triggered_id) if triggered_id else None,
    )


def _read_trades(body: bytes) -> tuple[Fill, ...]:
    return tuple(
        Fill(
            symbol=row.symbol,
            # The venue's trade list knows orders by number only.
            client_id="",
            venue_id=row.order_id,
            trade_id=row.id,
            side=row.side,
            qty=row.qty,
            price=row.price,
            realized=row.realized_pnl,
            fee=row.commission,
            fee_asset=row.commission_asset,
            is_maker=row.maker,
            time_ms=row.time,
        )
        for row in decode(body, _TRADES, what="userTrades")
    )
