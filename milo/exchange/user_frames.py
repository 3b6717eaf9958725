"""The frames of the user stream, from notices (layer 1).

Keys: exchange-api.md section 8 and the exchange's documentation of each event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from milo.exchange.fixed import money, show, show_e16
from milo.exchange.notices import AccountNotice, AlgoNotice, LeverageNotice, Notice, OrderNotice
from milo.exchange.rules import SymbolRules
from milo.exchange.state import ASSET
from milo.model import OrderType

Json = dict[str, Any]


class UserFrame(NamedTuple):
    """One event of the user stream: its name, by which clients may choose, and its JSON text."""

    name: str
    text: str


def frames_of(notices: Iterable[Notice], rules: dict[str, SymbolRules]) -> list[UserFrame]:
    """Return the frames that tell these notices, in order."""
    frames = []
    for notice in notices:
        match notice:
            case OrderNotice():
                if notice.execution == "TRADE":
                    frames.append(_frame(_trade_lite(notice, rules[notice.order.symbol])))
                frames.append(_frame(_order_update(notice, rules[notice.order.symbol])))
            case AccountNotice():
                frames.append(_frame(_account_update(notice, rules[notice.position.symbol])))
            case AlgoNotice():
                frames.append(_frame(_algo_update(notice, rules[notice.algo.symbol])))
            case LeverageNotice():
                frames.append(_frame(_leverage_update(notice)))
    return frames


def expired_frame(listen_key: str, now_ms: int) -> UserFrame:
    """Return the last frame of a listen key; the socket stays open but mute after it."""
    return _frame({"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key})


def _frame(body: Json) -> UserFrame:
    return UserFrame(body["e"], msgspec.json.encode(body).decode())


def _order_update(notice: OrderNotice, rules: SymbolRules) -> Json:
    order, trade = notice.order, notice.trade
    body: Json = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type.value,
        "f": order.time_in_force,
        "q": show(order.qty, rules.qty_places),
        "p": show(order.price, rules.price_places),
        "ap": show(order.avg_price, rules.price_places),
        "sp": show(order.stop_price, rules.price_places),
        "x": notice.execution,
        "X": order.status.value,
        "i": order.order_id,
        "l": show(trade.qty if trade else 0, rules.qty_places),
        "z": show(order.filled, rules.qty_places),
        "L": show(trade.price if trade else 0, rules.price_places),
        "T": notice.time_ms,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.is_maker if trade else False,
        "R": order.is_reduce_only,
        "wt": order.working_type,
        "ot": order.orig_type.value,
        "ps": "BOTH",
        "cp": order.is_close_position,
        "pP": order.is_price_protected,
        "si": 0,
        "ss": 0,
        "rp": money(trade.realized) if trade else "0",
        "V": order.stp_mode,
        "pm": "NONE",
        "gtd": 0,
        "er": str(notice.expiry_reason),
    }
    if trade:
        body |= {"N": ASSET, "n": money(trade.fee)}
    if order.orig_type is OrderType.TRAILING_STOP_MARKET:
        body |= {"AP": "0", "cr": "0"}
    return {"e": "ORDER_TRADE_UPDATE", "E": notice.time_ms, "T": notice.time_ms, "o": body}


def _trade_lite(notice: OrderNotice, rules: SymbolRules) -> Json:
    order, trade = notice.order, notice.trade
    assert trade is not None
    return {
        "e": "TRADE_LITE",
        "E": notice.time_ms,
        "T": notice.time_ms,
        "s": order.symbol,
        "q": show(order.qty, rules.qty_places),
        "p": show(order.price, rules.price_places),
        "m": trade.is_maker,
        "c": order.client_id,
        "S": order.side.value,
        "L": show(trade.price, rules.price_places),
        "l": show(trade.qty, rules.qty_places),
        "t": trade.trade_id,
        "i": order.order_id,
    }


def _account_update(notice: AccountNotice, rules: SymbolRules) -> Json:
    position = notice.position
    account: Json = {
        "m": notice.reason,
        "B": [
            {
                "a": ASSET,
                "wb": money(notice.wallet),
                "cw": money(notice.cross_wallet),
                "bc": money(notice.change),
            }
        ],
        "P": [
            {
                "s": position.symbol,
                "pa": show(position.qty, rules.qty_places),
                "ep": show_e16(position.entry_e16, rules.price_places),
                "bep": show_e16(position.break_even_e16, rules.price_places),
                "cr": money(position.realized),
                "up": money(position.unrealized),
                "mt": "isolated",
                "iw": money(position.wallet),
                "ps": "BOTH",
                "ma": ASSET,
            }
        ],
    }
    if notice.reason == "FUNDING_FEE":
        account["S"] = position.symbol
    return {"e": "ACCOUNT_UPDATE", "E": notice.time_ms, "T": notice.time_ms, "a": account}


def _algo_update(notice: AlgoNotice, rules: SymbolRules) -> Json:
    algo, order = notice.algo, notice.order
    body: Json = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type.value,
        "s": algo.symbol,
        "S": algo.side.value,
        "ps": "BOTH",
        "f": algo.time_in_force,
        "q": show(algo.qty, rules.qty_places),
        "X": algo.status.value,
        "ai": str(algo.order_id) if algo.order_id else "",
        "ap": show(order.avg_price if order else 0, rules.price_places),
        "aq": show(order.filled if order else 0, rules.qty_places),
        "act": order.type.value if order else "0",
        "tp": show(algo.trigger_price, rules.price_places),
        "p": show(algo.price, rules.price_places),
        "V": algo.stp_mode,
        "wt": algo.working_type,
        "pm": "NONE",
        "cp": algo.is_close_position,
        "pP": algo.is_price_protected,
        "R": algo.is_reduce_only,
        "tt": algo.trigger_ms,
        "gtd": 0,
        "rm": algo.reject_reason,
    }
    if algo.is_trailing:
        body |= {
            "ia": algo.is_activated,
            "AP": show(algo.activate_price, rules.price_places),
            "cr": show(algo.callback_rate, 1),
        }
    return {"e": "ALGO_UPDATE", "T": notice.time_ms, "E": notice.time_ms, "o": body}


def _leverage_update(notice: LeverageNotice) -> Json:
    return {
        "e": "ACCOUNT_CONFIG_UPDATE",
        "E": notice.time_ms,
        "T": notice.time_ms,
        "ac": {"s": notice.symbol, "l": notice.leverage},
    }
