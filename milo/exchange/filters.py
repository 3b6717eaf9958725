"""What an order must be before anyone looks at the account: parameters and filters. Pure.

Source: exchange-api.md sections 2 and 4: each check refuses with the real exchange's code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from milo.exchange.account import notional_of
from milo.exchange.feed import E8
from milo.exchange.fixed import places_of, show, times
from milo.exchange.params import Params
from milo.exchange.refusals import (
    ApiRefusal,
    invalid,
    not_offered,
    refusal,
    too_precise,
    unwanted,
)
from milo.exchange.rules import SymbolRules
from milo.exchange.state import GTE
from milo.model import OrderType, Side

TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX")
_STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_WORKING_TYPES = ("CONTRACT_PRICE", "MARK_PRICE")
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CLOSERS = (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
_LOWEST_CALLBACK_E8 = E8 // 10
_HIGHEST_CALLBACK_E8 = 20 * E8


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A checked request for a regular or a conditional order; prices and quantities e8, 0 unset."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: str
    client_id: str | None
    qty: int = 0
    price: int = 0
    trigger_price: int = 0
    is_reduce_only: bool = False
    is_close_position: bool = False
    wants_result: bool = False
    working_type: str = "CONTRACT_PRICE"
    stp_mode: str = "EXPIRE_MAKER"
    is_price_protected: bool = False
    activate_price: int = 0
    callback_rate: int = 0


def read_order(params: Params, rules: SymbolRules) -> OrderRequest:
    """Return the regular order that the parameters ask for; its mark-price filters come later.

    Raises ApiRefusal with the exchange's code for the first thing that is wrong.
    """
    side = read_side(params)
    order_type = _read_type(params)
    if order_type.is_conditional:
        raise refusal(-4120)
    _check_plain(params)
    for name in ("stopPrice", "closePosition", "activationPrice", "callbackRate"):
        if params.text(name) not in (None, "false"):
            raise unwanted(name)
    is_limit = order_type is OrderType.LIMIT
    time_in_force = _time_in_force(params, is_needed=True) if is_limit else "GTC"
    if not is_limit:
        for name in ("timeInForce", "price"):
            if params.text(name) is not None:
                raise unwanted(name)
    qty = _read_qty(params, rules, is_market=not is_limit)
    price = _read_price(params, rules, "price") if is_limit else 0
    return OrderRequest(
        symbol=rules.symbol,
        side=side,
        type=order_type,
        time_in_force=time_in_force,
        client_id=read_client_id(params, "newClientOrderId"),
        qty=qty,
        price=price,
        is_reduce_only=params.flag("reduceOnly") or False,
        wants_result=_wants_result(params),
        stp_mode=_choice(params, "selfTradePreventionMode", _STP_MODES, "EXPIRE_MAKER"),
    )


def read_algo(params: Params, rules: SymbolRules) -> OrderRequest:
    """Return the conditional order that the parameters ask for. Raises ApiRefusal."""
    if params.need_text("algoType") != "CONDITIONAL":
        raise invalid("algoType")
    side = read_side(params)
    order_type = _read_type(params)
    if not order_type.is_conditional:
        raise refusal(-1116)
    _check_plain(params)
    is_close = params.flag("closePosition") or False
    is_limit = order_type in (OrderType.STOP, OrderType.TAKE_PROFIT)
    if is_close:
        _check_close_position(params, order_type)
    if not is_limit and params.text("price") is not None:
        raise unwanted("price")
    is_trailing = order_type is OrderType.TRAILING_STOP_MARKET
    activate, callback = _read_trailing(params, rules) if is_trailing else (0, 0)
    time_in_force = _time_in_force(params, is_needed=False)
    return OrderRequest(
        symbol=rules.symbol,
        side=side,
        type=order_type,
        time_in_force=GTE if is_close else time_in_force,
        client_id=read_client_id(params, "clientAlgoId"),
        qty=0 if is_close else _read_qty(params, rules, is_market=not is_limit),
        price=_read_price(params, rules, "price") if is_limit else 0,
        trigger_price=0 if is_trailing else _read_trigger(params, rules),
        is_reduce_only=is_close or params.flag("reduceOnly") or False,
        is_close_position=is_close,
        wants_result=_wants_result(params),
        working_type=_read_working_type(params),
        stp_mode=_choice(params, "selfTradePreventionMode", _STP_MODES, "NONE"),
        is_price_protected=params.flag("priceProtect") or False,
        activate_price=activate,
        callback_rate=callback,
    )


def check_notional(request: OrderRequest, rules: SymbolRules, price: int) -> None:
    """Raise -4164 where price * quantity is below MIN_NOTIONAL; reducing orders are exempt."""
    if request.is_reduce_only or request.is_close_position:
        return
    if notional_of(price, request.qty) < rules.min_notional:
        raise refusal(
            -4164,
            f"Order's notional must be no smaller than {show(rules.min_notional)}"
            " (unless you choose reduce only).",
        )


def check_percent_price(request: OrderRequest, rules: SymbolRules, mark: int, last: int) -> None:
    """Raise where the order would trade too far from the mark price (PERCENT_PRICE)."""
    price = request.price or last
    if request.side is Side.BUY and price > times(mark, rules.price_up):
        raise refusal(-4016 if request.price else -4131)
    if request.side is Side.SELL and price < times(mark, rules.price_down):
        raise refusal(-4024 if request.price else -4131)


def read_side(params: Params) -> Side:
    """Return the side; -1117 where it is none."""
    try:
        return Side(params.need_text("side"))
    except ValueError:
        raise refusal(-1117) from None


def read_client_id(params: Params, name: str) -> str | None:
    """Return the client's own id; -4015 where it is not 1 to 36 of the allowed characters."""
    raw = params.text(name)
    if raw is not None and _CLIENT_ID.fullmatch(raw) is None:
        raise refusal(-4015)
    return raw


def _read_type(params: Params) -> OrderType:
    try:
        return OrderType(params.need_text("type"))
    except ValueError:
        raise refusal(-1116) from None


def _check_plain(params: Params) -> None:
    """Refuse what this exchange does not offer: hedge sides, prices taken from the book."""
    position_side = params.text("positionSide")
    if position_side in ("LONG", "SHORT"):
        raise refusal(-4061)
    if position_side not in (None, "BOTH"):
        raise refusal(-4060)
    if params.text("priceMatch") not in (None, "NONE"):
        raise not_offered("priceMatch")


def _check_close_position(params: Params, order_type: OrderType) -> None:
    if order_type not in _CLOSERS:
        raise ApiRefusal(
            -4136, f"Target strategy invalid for orderType '{order_type}',closePosition 'true'."
        )
    if params.text("quantity") is not None and params.e8("quantity"):
        raise refusal(-4137)
    is_reduce_only = params.flag("reduceOnly")
    if is_reduce_only is not None:
        raise unwanted("reduceOnly") if is_reduce_only else refusal(-4138)


def _time_in_force(params: Params, *, is_needed: bool) -> str:
    raw = params.need_text("timeInForce") if is_needed else params.text("timeInForce") or "GTC"
    if raw not in TIMES_IN_FORCE and not (raw == GTE and not is_needed):
        raise refusal(-1115)
    return raw


def _wants_result(params: Params) -> bool:
    raw = params.text("newOrderRespType") or "ACK"
    if raw not in ("ACK", "RESULT"):
        raise refusal(-1136)
    return raw == "RESULT"


def _choice(params: Params, name: str, allowed: tuple[str, ...], default: str) -> str:
    raw = params.text(name) or default
    if raw not in allowed:
        raise invalid(name)
    return raw


def _read_working_type(params: Params) -> str:
    raw = params.text("workingType") or _WORKING_TYPES[0]
    if raw not in _WORKING_TYPES:
        raise ApiRefusal(-4031, f"Invalid parameter working type: `{raw}`")
    return raw


def _read_qty(params: Params, rules: SymbolRules, *, is_market: bool) -> int:
    """Return the quantity after LOT_SIZE or MARKET_LOT_SIZE."""
    qty = params.need_e8("quantity")
    if qty <= 0:
        raise refusal(-4003)
    if places_of(qty) > rules.qty_places:
        raise too_precise()
    lot = rules.market_lot if is_market else rules.lot
    if qty < lot.min_qty:
        raise refusal(-4004)
    if qty > lot.max_qty:
        raise refusal(-4005)
    if lot.step and (qty - lot.min_qty) % lot.step:
        raise refusal(-4023)
    return qty


def _read_price(params: Params, rules: SymbolRules, name: str) -> int:
    """Return a price after PRICE_FILTER."""
    price = params.need_e8(name)
    if price <= 0:
        raise refusal(-4001)
    if rules.max_price and price > rules.max_price:
        raise refusal(-4002)
    if rules.min_price and price < rules.min_price:
        raise refusal(-4013)
    _check_tick(price, rules)
    return price


def _read_trigger(params: Params, rules: SymbolRules) -> int:
    """Return the trigger price after PRICE_FILTER."""
    price = params.need_e8("triggerPrice")
    if price <= 0:
        raise refusal(-4006)
    if rules.max_price and price > rules.max_price:
        raise refusal(-4007)
    _check_tick(price, rules)
    return price


def _read_trailing(params: Params, rules: SymbolRules) -> tuple[int, int]:
    """Return activation price (0: the latest price) and callback rate."""
    if params.text("triggerPrice") is not None:
        raise unwanted("triggerPrice")
    callback = params.need_e8("callbackRate")
    if not _LOWEST_CALLBACK_E8 <= callback <= _HIGHEST_CALLBACK_E8:
        raise invalid("callbackRate")
    if params.text("activatePrice") is None:
        return 0, callback
    activate = params.need_e8("activatePrice")
    if activate <= 0:
        raise refusal(-4135)
    _check_tick(activate, rules)
    return activate, callback


def _check_tick(price: int, rules: SymbolRules) -> None:
    if places_of(price) > max(rules.price_places, places_of(rules.shown_tick)):
        raise too_precise()
    if rules.tick and (price - rules.min_price) % rules.tick:
        raise refusal(-4014)
