"""The account's stream events: orders, conditional orders, balance, settings (layer 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import field

from milo.errors import ProtocolError
from milo.events import (
    AccountEvent,
    AlgoEvent,
    IgnoredEvent,
    LeverageEvent,
    ListenKeyExpired,
    OrderEvent,
    PositionChange,
    StreamEvent,
)
from milo.model import Fill, OrderReport, OrderStatus, OrderType, Side
from milo.wire.account import SETTLEMENT_ASSET
from milo.wire.rest import WireStruct, decimal_of, decimal_or_zero, present

_EXECUTIONS = frozenset({"NEW", "CANCELED", "CALCULATED", "EXPIRED", "TRADE", "AMENDMENT"})

_FORCED_PREFIXES = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""Client ids of orders that the exchange itself made: liquidation, ADL, settlement."""

# Words that only such orders carry: they are market orders which nobody sent.
_FORCED_TYPES = {"LIQUIDATION": OrderType.MARKET}
_FORCED_STATUSES = {"NEW_INSURANCE": OrderStatus.NEW, "NEW_ADL": OrderStatus.NEW}


# --- shapes -------------------------------------------------------------------------------------


class _Order(WireStruct):
    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: Side = field(name="S")
    type: str = field(name="o")
    execution: str = field(name="x")
    status: str = field(name="X")
    order_id: int = field(name="i")
    qty: Decimal = field(name="q")
    filled_qty: Decimal = field(name="z")
    price: Decimal = field(name="p")
    last_qty: Decimal = field(name="l")
    last_price: Decimal = field(name="L")
    time_ms: int = field(name="T")
    trade_id: int = field(name="t", default=0)
    is_maker: bool = field(name="m", default=False)
    is_reduce_only: bool = field(name="R", default=False)
    is_close_position: bool = field(name="cp", default=False)
    avg_price: msgspec.Raw = field(name="ap", default=msgspec.Raw())
    stop_price: msgspec.Raw = field(name="sp", default=msgspec.Raw())
    realized: msgspec.Raw = field(name="rp", default=msgspec.Raw())
    fee: msgspec.Raw = field(name="n", default=msgspec.Raw())
    fee_asset: str | None = field(name="N", default=None)


class _OrderUpdate(WireStruct):
    event_ms: int = field(name="E")
    order: _Order = field(name="o")


class _Algo(WireStruct):
    symbol: str = field(name="s")
    client_id: str = field(name="caid")
    algo_id: int = field(name="aid")
    side: Side = field(name="S")
    type: OrderType = field(name="o")
    status: OrderStatus = field(name="X")
    is_reduce_only: bool = field(name="R", default=False)
    is_close_position: bool = field(name="cp", default=False)
    qty: msgspec.Raw = field(name="q", default=msgspec.Raw())
    price: msgspec.Raw = field(name="p", default=msgspec.Raw())
    trigger_price: msgspec.Raw = field(name="tp", default=msgspec.Raw())
    order_id: msgspec.Raw = field(name="ai", default=msgspec.Raw())
    avg_price: msgspec.Raw = field(name="ap", default=msgspec.Raw())
    filled_qty: msgspec.Raw = field(name="aq", default=msgspec.Raw())
    reject_reason: str | None = field(name="rm", default=None)


class _AlgoUpdate(WireStruct):
    event_ms: int = field(name="E")
    order: _Algo = field(name="o")


class _BalanceRow(WireStruct):
    asset: str = field(name="a")
    wallet: Decimal = field(name="wb")
    change: msgspec.Raw = field(name="bc", default=msgspec.Raw())


class _PositionRow(WireStruct):
    symbol: str = field(name="s")
    qty: Decimal = field(name="pa")
    entry_price: Decimal = field(name="ep")
    unrealized: msgspec.Raw = field(name="up", default=msgspec.Raw())
    isolated_wallet: msgspec.Raw = field(name="iw", default=msgspec.Raw())


class _Account(WireStruct):
    reason: str = field(name="m", default="")
    balances: tuple[_BalanceRow, ...] = field(name="B", default=())
    positions: tuple[_PositionRow, ...] = field(name="P", default=())
    funding_symbol: str | None = field(name="S", default=None)


class _AccountUpdate(WireStruct):
    event_ms: int = field(name="E")
    account: _Account = field(name="a")


class _Leverage(WireStruct):
    symbol: str = field(name="s")
    leverage: int = field(name="l")


class _ConfigUpdate(WireStruct):
    event_ms: int = field(name="E")
    leverage: _Leverage | None = field(name="ac", default=None)


class _KeyExpired(WireStruct):
    # Seen as a number and as text; this event must not be missed over that.
    event_ms: int | str = field(name="E", default=0)
    listen_key: str = field(name="listenKey", default="")


_ORDER_UPDATE = msgspec.json.Decoder(_OrderUpdate)
_ALGO_UPDATE = msgspec.json.Decoder(_AlgoUpdate)
_ACCOUNT_UPDATE = msgspec.json.Decoder(_AccountUpdate)
_CONFIG_UPDATE = msgspec.json.Decoder(_ConfigUpdate)
_KEY_EXPIRED = msgspec.json.Decoder(_KeyExpired)

Payload = bytes | str


# --- readers ------------------------------------------------------------------------------------


def _read_order(payload: Payload) -> StreamEvent:
    update = _ORDER_UPDATE.decode(payload)
    order = update.order
    if order.execution not in _EXECUTIONS:
        raise ProtocolError(f"unknown execution type {order.execution!r} of {order.client_id}")
    is_execution = order.execution in ("TRADE", "CALCULATED") and order.last_qty > 0
    return OrderEvent(
        report=_report(order),
        execution=order.execution,
        fill=_fill(order) if is_execution else None,
        is_liquidation=(
            order.execution == "CALCULATED"
            or order.type in _FORCED_TYPES
            or order.client_id.startswith(_FORCED_PREFIXES)
        ),
        event_ms=update.event_ms,
    )


def _report(order: _Order) -> OrderReport:
    return OrderReport(
        symbol=order.symbol,
        client_id=order.client_id,
        venue_id=order.order_id,
        side=order.side,
        type=_word(order.type, OrderType, _FORCED_TYPES),
        status=_word(order.status, OrderStatus, _FORCED_STATUSES),
        qty=order.qty,
        filled_qty=order.filled_qty,
        avg_price=present(decimal_of(order.avg_price)),
        price=order.price,
        trigger_price=decimal_or_zero(order.stop_price),
        is_reduce_only=order.is_reduce_only,
        is_close_position=order.is_close_position,
        is_conditional=False,
        update_ms=order.time_ms,
    )


def _fill(order: _Order) -> Fill:
    return Fill(
        symbol=order.symbol,
        client_id=order.client_id,
        venue_id=order.order_id,
        trade_id=order.trade_id,
        side=order.side,
        qty=order.last_qty,
        price=order.last_price,
        realized=decimal_or_zero(order.realized),
        # Both are left out where nothing was charged.
        fee=decimal_or_zero(order.fee),
        fee_asset=order.fee_asset or SETTLEMENT_ASSET,
        is_maker=order.is_maker,
        time_ms=order.time_ms,
    )


def _read_algo(payload: Payload) -> StreamEvent:
    update = _ALGO_UPDATE.decode(payload)
    order = update.order
    order_id = decimal_of(order.order_id)
    report = OrderReport(
        symbol=order.symbol,
        client_id=order.client_id,
        venue_id=order.algo_id,
        side=order.side,
        type=order.type,
        status=order.status,
        qty=decimal_or_zero(order.qty),
        filled_qty=decimal_or_zero(order.filled_qty),
        avg_price=present(decimal_of(order.avg_price)),
        price=decimal_or_zero(order.price),
        trigger_price=decimal_or_zero(order.trigger_price),
        is_reduce_only=order.is_reduce_only,
        is_close_position=order.is_close_position,
        is_conditional=True,
        update_ms=update.event_ms,
        triggered_venue_id=int(order_id) if order_id else None,
    )
    return AlgoEvent(
        report=report, reject_reason=order.reject_reason or "", event_ms=update.event_ms
    )


def _read_account(payload: Payload) -> StreamEvent:
    update = _ACCOUNT_UPDATE.decode(payload)
    account = update.account
    row = next((row for row in account.balances if row.asset == SETTLEMENT_ASSET), None)
    return AccountEvent(
        reason=account.reason,
        wallet=None if row is None else row.wallet,
        change=Decimal(0) if row is None else decimal_or_zero(row.change),
        positions=tuple(
            PositionChange(
                symbol=position.symbol,
                qty=position.qty,
                entry_price=position.entry_price,
                unrealized=decimal_or_zero(position.unrealized),
                isolated_wallet=decimal_or_zero(position.isolated_wallet),
            )
            for position in account.positions
        ),
        funding_symbol=account.funding_symbol,
        event_ms=update.event_ms,
    )


def _read_config(payload: Payload) -> StreamEvent:
    update = _CONFIG_UPDATE.decode(payload)
    if update.leverage is None:
        return IgnoredEvent(name="ACCOUNT_CONFIG_UPDATE")
    return LeverageEvent(
        symbol=update.leverage.symbol,
        leverage=update.leverage.leverage,
        event_ms=update.event_ms,
    )


def _read_key_expired(payload: Payload) -> StreamEvent:
    expired = _KEY_EXPIRED.decode(payload)
    text = str(expired.event_ms)
    return ListenKeyExpired(
        listen_key=expired.listen_key, event_ms=int(text) if text.isdecimal() else 0
    )


_Word = TypeVar("_Word", bound=StrEnum)


def _word(text: str, words: type[_Word], forced: Mapping[str, _Word]) -> _Word:
    if text in forced:
        return forced[text]
    try:
        return words(text)
    except ValueError as error:
        raise ProtocolError(f"unknown {words.__name__} {text!r}") from error


USER_EVENTS: dict[str, Callable[[Payload], StreamEvent]] = {
    "ORDER_TRADE_UPDATE": _read_order,
    "ALGO_UPDATE": _read_algo,
    "ACCOUNT_UPDATE": _read_account,
    "ACCOUNT_CONFIG_UPDATE": _read_config,
    "listenKeyExpired": _read_key_expired,
}
