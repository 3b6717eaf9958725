"""REST handlers of orders, conditional orders, leverage and modes (layer 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from milo.exchange.account import notional_of
from milo.exchange.filters import read_algo, read_order
from milo.exchange.fixed import show
from milo.exchange.params import Params
from milo.exchange.payloads import (
    algo_cancelled,
    algo_reply,
    algo_report,
    order_reply,
    order_report,
    trade_report,
)
from milo.exchange.refusals import (
    ApiRefusal,
    invalid,
    missing,
    missing_either,
    not_offered,
    refusal,
)
from milo.exchange.rest_market import symbol_rules
from milo.exchange.state import Algo, Order, Trade
from milo.exchange.venue import Venue
from milo.intervals import DAY_MS

Json = Any
_Row = TypeVar("_Row", Order, Algo, Trade)

_WEEK_MS = 7 * DAY_MS
_DONE_TEXT = "The operation of cancel all open order is done."


# --- regular orders -------------------------------------------------------------------------------


def post_order(venue: Venue, params: Params) -> Json:
    """Place a regular order; conditional types are refused with -4120."""
    rules = symbol_rules(venue, params)
    request = read_order(params, rules)
    venue.prepare(rules.symbol)
    order = venue.orders.place(request)
    _hide(venue, order.order_id)
    return order_reply(order, rules, is_ack=not request.wants_result)


def test_order(venue: Venue, params: Params) -> Json:
    """Check an order as if it were placed, and answer as for an order of no id."""
    rules = symbol_rules(venue, params)
    request = read_order(params, rules)
    venue.prepare(rules.symbol)
    return order_reply(venue.orders.check(request), rules)


def get_order(venue: Venue, params: Params) -> Json:
    """Return an order, open or final; -2013 where there is none."""
    rules = symbol_rules(venue, params)
    order = _find_order(venue, params, rules.symbol)
    if order is None:
        raise refusal(-2013)
    return order_report(order, rules)


def get_open_order(venue: Venue, params: Params) -> Json:
    """Return an order that is still open; -2013 where it is not."""
    rules = symbol_rules(venue, params)
    order = _find_order(venue, params, rules.symbol)
    if order is None or not order.is_open:
        raise refusal(-2013)
    return order_report(order, rules)


def delete_order(venue: Venue, params: Params) -> Json:
    """Cancel an open order; -2011 where there is none."""
    rules = symbol_rules(venue, params)
    order_id, client_id = _order_ids(params)
    return order_reply(venue.orders.cancel(rules.symbol, order_id, client_id), rules)


def delete_all_orders(venue: Venue, params: Params) -> Json:
    """Cancel the symbol's regular orders; conditional ones stay."""
    venue.orders.cancel_all(symbol_rules(venue, params).symbol)
    return {"code": 200, "msg": _DONE_TEXT}


def open_orders(venue: Venue, params: Params) -> Json:
    """Return open regular orders of a symbol, or of all; no conditional ones."""
    name = params.text("symbol")
    if name is not None:
        rules = venue.rules_for(name)
        return [order_report(o, rules) for o in _seen(venue, venue.state.orders_of(rules.symbol))]
    found = _seen(venue, venue.state.all_open_orders())
    return [order_report(order, venue.rules[order.symbol]) for order in found]


def all_orders(venue: Venue, params: Params) -> Json:
    """Return orders of any status, oldest first; by default those of the last 7 days."""
    name = params.text("symbol")
    symbol = venue.rules_for(name).symbol if name is not None else None
    limit = params.limit(default=500, highest=1000)
    from_id = params.integer("orderId")
    orders = _seen(venue, venue.state.orders.values())
    if from_id is not None:
        found = [o for o in orders if o.order_id >= from_id and symbol in (None, o.symbol)][:limit]
    else:
        found = _in_range(venue, params, orders, symbol, limit)
    return [order_report(order, venue.rules[order.symbol]) for order in found]


def user_trades(venue: Venue, params: Params) -> Json:
    """Return our trades of a symbol, oldest first; by default those of the last 7 days."""
    rules = symbol_rules(venue, params)
    limit = params.limit(default=500, highest=1000)
    order_id, from_id = params.integer("orderId"), params.integer("fromId")
    start_ms, end_ms = params.time_range()
    if from_id is not None and (start_ms is not None or end_ms is not None):
        raise ApiRefusal(-1128, "Combination of optional parameters invalid.")
    trades = [t for t in venue.state.trades if t.symbol == rules.symbol]
    if order_id is not None:
        trades = [trade for trade in trades if trade.order_id == order_id]
    if from_id is not None:
        found = [trade for trade in trades if trade.trade_id >= from_id][:limit]
    elif order_id is not None and start_ms is None and end_ms is None:
        found = trades[-limit:]
    else:
        found = _in_range(venue, params, trades, rules.symbol, limit)
    return [trade_report(trade, rules) for trade in found]


# --- conditional orders ---------------------------------------------------------------------------


def post_algo(venue: Venue, params: Params) -> Json:
    """Give a conditional order to the Algo service."""
    rules = symbol_rules(venue, params)
    request = read_algo(params, rules)
    venue.prepare(rules.symbol)
    algo = venue.algos.place(request)
    _hide(venue, algo.algo_id)
    return algo_reply(algo, rules)


def get_algo(venue: Venue, params: Params) -> Json:
    """Return a conditional order, waiting or final; -2013 where there is none."""
    algo = venue.state.find_algo(*_algo_ids(params))
    if algo is None or algo.algo_id in venue.hidden:
        raise refusal(-2013)
    return _report(venue, algo)


def delete_algo(venue: Venue, params: Params) -> Json:
    """Cancel a conditional order that waits; -2011 where there is none."""
    return algo_cancelled(venue.algos.cancel(*_algo_ids(params)))


def delete_all_algos(venue: Venue, params: Params) -> Json:
    """Cancel all conditional orders of a symbol."""
    venue.algos.cancel_all(symbol_rules(venue, params).symbol)
    return {"code": 200, "msg": _DONE_TEXT}


def open_algos(venue: Venue, params: Params) -> Json:
    """Return conditional orders that wait for their trigger."""
    _check_algo_type(params)
    name, algo_id = params.text("symbol"), params.integer("algoId")
    symbol = venue.rules_for(name).symbol if name is not None else None
    return [
        _report(venue, algo)
        for algo in _seen_algos(venue, venue.state.all_open_algos())
        if symbol in (None, algo.symbol) and algo_id in (None, algo.algo_id)
    ]


def all_algos(venue: Venue, params: Params) -> Json:
    """Return conditional orders of any status, oldest first."""
    rules = symbol_rules(venue, params)
    limit = params.limit(default=500, highest=1000)
    from_id = params.integer("algoId")
    algos = _seen_algos(venue, venue.state.algos.values())
    if from_id is not None:
        own = [a for a in algos if a.symbol == rules.symbol and a.algo_id >= from_id]
        return [_report(venue, algo) for algo in own[:limit]]
    return [_report(venue, a) for a in _in_range(venue, params, algos, rules.symbol, limit)]


# --- settings -------------------------------------------------------------------------------------


def post_leverage(venue: Venue, params: Params) -> Json:
    """Set a symbol's leverage: within its brackets, and never lower under an open position."""
    rules = symbol_rules(venue, params)
    leverage = params.need_integer("leverage")
    if not 1 <= leverage <= rules.max_leverage:
        raise refusal(-4028, f"Leverage {leverage} is not valid")
    venue.prepare(rules.symbol)
    position = venue.state.position(rules.symbol)
    most = rules.max_notional(leverage)
    if position.is_open:
        if leverage < venue.state.leverage(rules.symbol):
            raise refusal(-4161)
        if notional_of(venue.price(rules.symbol), position.qty) > most:
            raise refusal(-2027)
    _check_order_margin(venue, rules.symbol, leverage)
    venue.clearing.set_leverage(rules.symbol, leverage)
    return {
        "symbol": rules.symbol,
        "leverage": leverage,
        "maxNotionalValue": show(most),
    }


def _check_order_margin(venue: Venue, symbol: str, leverage: int) -> None:
    """Raise -2028 where open orders would need more margin at that leverage than there is."""
    clearing, state = venue.clearing, venue.state
    before = state.leverage(symbol)
    held = clearing.order_margin(symbol)
    needed = -(-held * before // leverage)
    if needed > held and needed - held > clearing.available():
        raise refusal(-2028)


def post_margin_type(venue: Venue, params: Params) -> Json:
    """Every symbol is isolated and stays so: asking for it changes nothing (-4046)."""
    rules = symbol_rules(venue, params)
    kind = params.need_text("marginType")
    if kind == "ISOLATED":
        raise refusal(-4046)
    if kind not in ("CROSSED", "CROSS"):
        raise invalid("marginType")
    if venue.state.position(rules.symbol).is_open:
        raise refusal(-4048)
    if rules.symbol in venue.state.open_orders:
        raise refusal(-4047)
    raise not_offered("cross margin")


def get_position_mode(venue: Venue, params: Params) -> Json:
    """GET positionSide/dual: the account is one-way."""
    return {"dualSidePosition": False}


def post_position_mode(venue: Venue, params: Params) -> Json:
    """The account is one-way and stays so: asking for it changes nothing (-4059)."""
    is_hedge = params.flag("dualSidePosition")
    if is_hedge is None:
        raise missing("dualSidePosition")
    if not is_hedge:
        raise refusal(-4059)
    if venue.state.open_orders or venue.state.open_algos:
        raise refusal(-4067)
    if venue.state.held():
        raise refusal(-4068)
    raise not_offered("hedge mode")


def get_multi_assets(venue: Venue, params: Params) -> Json:
    """GET multiAssetsMargin: the account has one asset."""
    return {"multiAssetsMargin": False}


def post_multi_assets(venue: Venue, params: Params) -> Json:
    """The account has one asset and stays so: asking for it changes nothing (-4171)."""
    is_multi = params.flag("multiAssetsMargin")
    if is_multi is None:
        raise missing("multiAssetsMargin")
    raise not_offered("multi-assets mode") if is_multi else refusal(-4171)


# --- what the handlers share ----------------------------------------------------------------------


def _hide(venue: Venue, number: int) -> None:
    """Keep a new order out of queries' sight where a fault says so."""
    if venue.hiding:
        venue.hidden[number] = venue.hiding


def _seen(venue: Venue, orders: Iterable[Order]) -> Iterable[Order]:
    hidden = venue.hidden
    return [order for order in orders if order.order_id not in hidden] if hidden else orders


def _seen_algos(venue: Venue, algos: Iterable[Algo]) -> Iterable[Algo]:
    hidden = venue.hidden
    return [algo for algo in algos if algo.algo_id not in hidden] if hidden else algos


def _order_ids(params: Params) -> tuple[int | None, str | None]:
    order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise missing_either("origClientOrderId", "orderId")
    return order_id, client_id


def _find_order(venue: Venue, params: Params, symbol: str) -> Order | None:
    order_id, client_id = _order_ids(params)
    order = venue.state.find_order(symbol, order_id, client_id)
    return None if order is not None and order.order_id in venue.hidden else order


def _algo_ids(params: Params) -> tuple[int | None, str | None]:
    algo_id, client_id = params.integer("algoId"), params.text("clientAlgoId")
    if algo_id is None and client_id is None:
        raise missing_either("clientAlgoId", "algoId")
    return algo_id, client_id


def _check_algo_type(params: Params) -> None:
    if params.text("algoType") not in (None, "CONDITIONAL"):
        raise invalid("algoType")


def _report(venue: Venue, algo: Algo) -> Json:
    order = venue.state.orders.get(algo.order_id)
    return algo_report(algo, order, venue.rules[algo.symbol])


def _in_range(
    venue: Venue, params: Params, rows: Iterable[_Row], symbol: str | None, limit: int
) -> list[_Row]:
    """Return the rows of startTime..endTime, at most a week of them; with no times the newest."""
    start_ms, end_ms = params.time_range()
    if start_ms is not None and end_ms is not None and end_ms - start_ms > _WEEK_MS:
        raise ApiRefusal(-4165, "Maximum time interval is 7 days")
    if start_ms is not None:
        first, last = start_ms, start_ms + _WEEK_MS if end_ms is None else end_ms
    else:
        last = venue.now_ms if end_ms is None else end_ms
        first = last - _WEEK_MS
    found = [row for row in rows if symbol in (None, row.symbol) and first <= row.time_ms <= last]
    return found[-limit:] if start_ms is None else found[:limit]
