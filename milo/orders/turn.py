"""One turn of the core: the book as it changes under one event, and the commands it gives.

A Turn lives only inside `step`; from outside, step is a pure function of immutable values.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from milo.commands import Cancel, Command, Note, NoteKind, Place, ReadAccount, WatchStop
from milo.model import ExitReason, NewOrder, OrderReport, OrderType
from milo.orders.book import Book, CoreConfig, Entering, OpenTrade, OwnOrder, SymbolBook
from milo.orders.ids import Leg, client_id
from milo.orders.lots import largest_market_qty
from milo.orders.machine import OrderState, advance

KEPT_ORDERS = 100
"""Final orders remembered for a symbol, so that late reports still find what they are about."""


class Turn:
    """The book and the commands of one event."""

    def __init__(self, book: Book, config: CoreConfig, now_ms: int) -> None:
        self.book = book
        self.config = config
        self.now_ms = now_ms
        self.commands: list[Command] = []

    def give(self, command: Command) -> None:
        self.commands.append(command)

    def note(self, kind: NoteKind, state: SymbolBook, text: str) -> None:
        symbol = state.ready.instrument.symbol
        self.give(Note(kind=kind, symbol=symbol, script=state.ready.script, text=text))

    def read_account(self, why: str) -> None:
        """Ask for a reading that begins after this moment; one at a time is under way."""
        if self.book.is_reading:
            self.book = dataclasses.replace(self.book, reread=why)
            return
        self.book = dataclasses.replace(self.book, is_reading=True, events_in_reading=0)
        self.give(ReadAccount(why=why))

    def of(self, symbol: str) -> SymbolBook:
        return self.book.symbols[symbol]

    def change(self, state: SymbolBook, /, **changes: Any) -> SymbolBook:
        """Replace fields of a symbol's book and keep the result."""
        changed = dataclasses.replace(state, **changes)
        self.book = self.book.with_symbol(changed)
        return changed

    def change_trade(self, state: SymbolBook, /, **changes: Any) -> SymbolBook:
        """Replace fields of the symbol's open trade."""
        return self.change(state, trade=dataclasses.replace(trade_of(state), **changes))

    def change_order(self, state: SymbolBook, own_id: str, /, **changes: Any) -> SymbolBook:
        """Replace fields of one of our orders."""
        changed = dataclasses.replace(state.orders[own_id], **changes)
        if changed == state.orders[own_id]:
            return state
        return self.change(state, orders={**state.orders, own_id: changed})

    def add_order(
        self,
        state: SymbolBook,
        order: NewOrder,
        leg: Leg,
        *,
        key: str,
        reason: ExitReason | None = None,
        entering: Entering | None = None,
    ) -> SymbolBook:
        """Enter an order in the book as being placed; the oldest final ones are forgotten."""
        # Every order goes out through here: on a read-only venue there is none.
        assert self.config.may_trade
        own = OwnOrder(
            order=order,
            leg=leg,
            state=OrderState.PLACING,
            key=key,
            reason=reason,
            entering=entering,
        )
        return self.change(state, orders={**_remembered(state), order.client_id: own})

    def move_order(self, state: SymbolBook, own_id: str, to: OrderState) -> SymbolBook:
        """Advance an order of ours by the table."""
        return self.change_order(state, own_id, state=advance(state.orders[own_id].state, to))

    def cancel(self, symbol: str, own_id: str, *, is_conditional: bool) -> None:
        """Cancel an order at the venue; nothing on a read-only one."""
        if self.config.may_trade:
            self.give(Cancel(symbol=symbol, client_id=own_id, is_conditional=is_conditional))

    def watch_order(self, state: SymbolBook, own_id: str, after_s: float) -> SymbolBook:
        """Come back to an order of ours after a time, unless that is under way already."""
        if state.orders[own_id].is_watched:
            return state
        symbol = state.ready.instrument.symbol
        self.give(WatchStop(symbol=symbol, client_id=own_id, after_s=after_s))
        return self.change_order(state, own_id, is_watched=True)

    def close_at_market(
        self, state: SymbolBook, reason: ExitReason, leg: Leg = Leg.CLOSE
    ) -> SymbolBook:
        """Send a reduce-only market order for all that is open; nothing if one is under way."""
        trade = trade_of(state)
        if trade.is_closing or not self.config.may_trade:
            return state
        attempt = trade.closes + 1
        order = NewOrder(
            symbol=state.ready.instrument.symbol,
            side=trade.direction.exit_side,
            type=OrderType.MARKET,
            client_id=client_id(self.book.run_id, trade.key, leg, attempt),
            qty=min(trade.qty, largest_market_qty(state.ready.instrument)),
            is_reduce_only=True,
        )
        state = self.add_order(state, order, leg, key=trade.key, reason=reason)
        self.give(Place(order=order))
        return self.change_trade(state, closing_id=order.client_id, closes=attempt)


def find_order(state: SymbolBook, own_id: str, venue_id: int) -> str | None:
    """Return our client id for a report that names either our id or the venue's."""
    if own_id in state.orders:
        return own_id
    for candidate, own in state.orders.items():
        if own.venue_id is not None and own.venue_id == venue_id:
            return candidate
    return None


def match_report(state: SymbolBook, report: OrderReport) -> str | None:
    """Return our client id for a report.

    The regular order that a stop or target became may carry a name of the exchange's own, and be
    told of before the link between the two: then its trigger says whose it is.
    """
    own_id = find_order(state, report.client_id, report.venue_id)
    is_triggered = report.type is OrderType.MARKET and report.is_close_position
    if own_id is not None or not is_triggered:
        return own_id
    for candidate, own in reversed(list(state.orders.items())):
        order = own.order
        if (
            order.is_close_position
            and not own.state.is_final
            and own.venue_id is None
            and order.side is report.side
            and order.trigger_price == report.trigger_price
        ):
            return candidate
    return None


def trade_of(state: SymbolBook) -> OpenTrade:
    """Return the open trade where the caller knows that there is one."""
    assert state.trade is not None
    return state.trade


def _remembered(state: SymbolBook) -> dict[str, OwnOrder]:
    trade_key = None if state.trade is None else state.trade.key
    old = [
        own_id for own_id, own in state.orders.items() if own.is_complete and own.key != trade_key
    ]
    forgotten = set(old[: max(0, len(old) - KEPT_ORDERS)])
    return {own_id: own for own_id, own in state.orders.items() if own_id not in forgotten}
