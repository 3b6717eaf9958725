"""The account as read from the venue, taken into the book: at start, and whenever in doubt. Pure.

1. What the venue says of balances and margins replaces what we believed.
2. A position on a script's symbol with a stop or target of ours is ours: it is adopted.
3. A position without any order of ours is somebody else's: it is left alone and said.
4. A position of ours without a stop gets one.
5. A position that we believed open and the venue does not have is closed in the book only by its
   fills (which are asked for); a snapshot alone never drops a trade.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from milo.commands import NoteKind
from milo.inbox import AccountRead, SymbolReady
from milo.model import ExitReason, NewOrder, OrderReport, OrderType, PositionReport
from milo.money import ZERO, plain
from milo.orders.book import Account, OpenTrade, OwnOrder, SymbolBook
from milo.orders.ids import Leg, is_ours, signal_key
from milo.orders.machine import state_of
from milo.orders.protect import ensure_protection
from milo.orders.turn import Turn


def on_symbol_ready(turn: Turn, ready: SymbolReady) -> None:
    """Enter a symbol in the book, or refresh what the venue says of it."""
    symbol = ready.instrument.symbol
    known = turn.book.symbols.get(symbol)
    if known is None:
        known = SymbolBook(
            ready=ready, leverage=ready.config.leverage, is_isolated=ready.config.is_isolated
        )
    turn.change(
        known,
        ready=ready,
        leverage=ready.config.leverage,
        is_isolated=ready.config.is_isolated,
    )


def on_account_read(turn: Turn, read: AccountRead) -> None:
    """Take balances, positions and orders as the venue tells them."""
    followed = turn.book.symbols
    elsewhere = sum((p.unrealized for p in read.positions if p.symbol not in followed), ZERO)
    account = Account(
        wallet=read.balance.wallet,
        locked={p.symbol: p.isolated_margin for p in read.positions if p.qty},
        elsewhere_unrealized=elsewhere,
    )
    turn.book = dataclasses.replace(turn.book, account=account)
    positions = {position.symbol: position for position in read.positions if position.qty}
    for symbol in followed:
        position = positions.get(symbol)
        orders = tuple(order for order in read.orders if order.symbol == symbol)
        _take_symbol(turn, turn.of(symbol), position, orders)


def _take_symbol(
    turn: Turn,
    state: SymbolBook,
    position: PositionReport | None,
    orders: tuple[OrderReport, ...],
) -> None:
    state = turn.change(state, venue_qty=ZERO if position is None else position.qty)
    if position is None:
        if state.trade is None:
            turn.change(state, foreign_qty=ZERO)
        return
    if state.trade is not None:
        _check_stop(turn, state, orders)
        return
    if state.entering is not None or state.live_orders(Leg.ENTRY):
        return
    ours = [order for order in orders if is_ours(order.client_id) and order.is_close_position]
    if not ours:
        if state.foreign_qty != position.qty:
            turn.note(
                NoteKind.PROBLEM,
                state,
                f"a position of {plain(position.qty)} that Milo did not open is left alone",
            )
        turn.change(state, foreign_qty=position.qty)
        return
    _adopt(turn, state, position, ours)


def _check_stop(turn: Turn, state: SymbolBook, orders: tuple[OrderReport, ...]) -> None:
    trade = state.trade
    assert trade is not None
    if trade.stop_id is None or trade.is_closing:
        return
    own = state.orders.get(trade.stop_id)
    if own is not None and own.state.is_final:
        turn.note(NoteKind.PROBLEM, state, "the stop is gone: placing another")
        ensure_protection(turn, turn.change_trade(state, stop_id=None, is_stop_confirmed=False))


def _adopt(
    turn: Turn, state: SymbolBook, position: PositionReport, ours: list[OrderReport]
) -> None:
    direction = position.direction
    symbol = position.symbol
    stop = next((o for o in ours if o.type is OrderType.STOP_MARKET), None)
    target = next((o for o in ours if o.type is OrderType.TAKE_PROFIT_MARKET), None)
    trade = OpenTrade(
        script=state.ready.script,
        direction=direction,
        qty=abs(position.qty),
        entry_price=position.entry_price,
        entry_ms=position.update_ms,
        leverage=state.leverage,
        key=signal_key(state.ready.script, symbol, position.update_ms, "adopted"),
        stop_id=None if stop is None else stop.client_id,
        stop_price=None if stop is None else stop.trigger_price,
        is_stop_confirmed=stop is not None,
        target_id=None if target is None else target.client_id,
        target_price=None if target is None else target.trigger_price,
        liquidation=position.liquidation_price or None,
        is_announced=True,
    )
    legs = ((stop, Leg.STOP, ExitReason.STOP), (target, Leg.TARGET, ExitReason.TARGET))
    adopted = {
        report.client_id: _own(report, leg, reason)
        for report, leg, reason in legs
        if report is not None
    }
    state = turn.change(state, trade=trade, orders={**state.orders, **adopted}, foreign_qty=ZERO)
    turn.note(NoteKind.INFO, state, f"adopted {_adopted_words(trade)}")
    ensure_protection(turn, state)


def _own(report: OrderReport, leg: Leg, reason: ExitReason) -> OwnOrder:
    order = NewOrder(
        symbol=report.symbol,
        side=report.side,
        type=report.type,
        client_id=report.client_id,
        trigger_price=report.trigger_price,
        is_close_position=report.is_close_position,
    )
    return OwnOrder(
        order=order,
        leg=leg,
        state=state_of(report.status),
        reason=reason,
        venue_id=report.triggered_venue_id,
    )


def _adopted_words(trade: OpenTrade) -> str:
    words = f"{trade.direction} {plain(trade.qty)} @ {plain(trade.entry_price)}"
    stop = "no stop" if trade.stop_price is None else f"stop {plain(trade.stop_price)}"
    target = _level("target", trade.target_price)
    return f"{words}, {stop}{target}"


def _level(name: str, price: Decimal | None) -> str:
    return "" if price is None else f", {name} {plain(price)}"
