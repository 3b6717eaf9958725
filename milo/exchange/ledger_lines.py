"""The ledger's lines: what happened on the exchange, as values for JSON. Pure.

Prices, quantities and money are decimal strings. Whoever judges a run reads these lines, not the
answers that a client got.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from milo.exchange.faults import Fault, is_protective, kind_of
from milo.exchange.fixed import money, show, show_e16
from milo.exchange.notices import AccountNotice, AlgoNotice, Notice, OrderNotice
from milo.exchange.state import Algo, Order

Line = dict[str, Any]

_UNTOLD = frozenset({"signature", "listenKey", "timestamp", "recvWindow"})


def params_of(query: bytes, body: bytes) -> dict[str, str]:
    """Return a request's parameters as far as they can be read; the query wins."""
    values: dict[str, str] = {}
    for part in (body, query):
        values |= parse_qsl(part.decode("latin-1"), keep_blank_values=True)
    return values


def request_line(
    n: int, method: str, path: str, params: Mapping[str, str], *, has_key: bool
) -> Line:
    """Return the line of a request as it came in."""
    kind = kind_of(method, path, params, has_key=has_key)
    return {
        "kind": "request",
        "n": n,
        "method": method,
        "path": path,
        "params": {name: value for name, value in params.items() if name not in _UNTOLD},
        "protective": is_protective(kind),
    }


def answer_line(n: int, *, status: int, code: int, lost: bool) -> Line:
    """Return the line of an answer; status 0 where nothing was even carried out."""
    return {"kind": "answer", "n": n, "status": status, "code": code, "lost": lost}


def fault_line(fault: Fault, at: str, n: int | None = None) -> Line:
    """Return the line of a fault: `at` is begin, end or hit."""
    line: Line = {
        "kind": "fault",
        "id": fault.id,
        "name": fault.name,
        "at": at,
        "blocks": fault.blocks,
    }
    return line if n is None else line | {"n": n}


class LineMaker:
    """Makes the lines of notices; knows the wallet as of the last line."""

    def __init__(self, wallet: int) -> None:
        self._wallet = wallet

    def lines(self, notices: Iterable[Notice]) -> Iterator[Line]:
        """Yield the lines that the notices mean, in order."""
        for notice in notices:
            match notice:
                case OrderNotice():
                    yield from _order_lines(notice)
                case AlgoNotice():
                    yield _algo_line(notice.algo)
                case AccountNotice():
                    yield from self._account_lines(notice)

    def _account_lines(self, notice: AccountNotice) -> Iterator[Line]:
        position = notice.position
        yield {
            "kind": "position",
            "symbol": position.symbol,
            "qty": show(position.qty),
            "entry": show_e16(position.entry_e16),
            "wallet": money(position.wallet),
        }
        if notice.wallet != self._wallet:
            change, self._wallet = notice.wallet - self._wallet, notice.wallet
            yield {
                "kind": "account",
                "wallet": money(notice.wallet),
                "reason": notice.reason,
                "change": money(change),
            }


def _order_lines(notice: OrderNotice) -> Iterator[Line]:
    order, trade = notice.order, notice.trade
    yield _order_line(order, notice.execution)
    if trade is not None:
        yield {
            "kind": "trade",
            "trade_id": trade.trade_id,
            "order_id": order.order_id,
            "client_id": order.client_id,
            "symbol": trade.symbol,
            "side": trade.side.value,
            "qty": show(trade.qty),
            "price": show(trade.price),
            "realized": money(trade.realized),
            "fee": money(trade.fee),
            "forced": notice.execution == "CALCULATED",
        }


def _order_line(order: Order, execution: str) -> Line:
    return {
        "kind": "order",
        "order_id": order.order_id,
        "client_id": order.client_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.type.value,
        "status": order.status.value,
        "qty": show(order.qty),
        "filled": show(order.filled),
        "price": show(order.price),
        "reduce_only": order.is_reduce_only,
        "close_position": order.is_close_position,
        "algo_id": order.algo_id,
        "execution": execution,
    }


def _algo_line(algo: Algo) -> Line:
    return {
        "kind": "algo",
        "algo_id": algo.algo_id,
        "client_id": algo.client_id,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "type": algo.type.value,
        "status": algo.status.value,
        "trigger_price": show(algo.trigger_price),
        "qty": show(algo.qty),
        "close_position": algo.is_close_position,
        "reduce_only": algo.is_reduce_only,
        "order_id": algo.order_id,
    }
