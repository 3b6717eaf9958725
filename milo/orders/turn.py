"""One turn of the core: the book as it changes under one event, and the commands it gives.

A Turn lives only inside `step`; from outside, step is a pure function of immutable values.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from milo.commands import Command, Note, NoteKind, Place
from milo.model import ExitReason, NewOrder, OrderType
from milo.orders.book import Book, CoreConfig, OpenTrade, OwnOrder, SymbolBook
from milo.orders.ids import Leg, client_id
from milo.orders.machine import OrderState, advance


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

    def of(self, symbol: str) -> SymbolBook:
        return self.book.symbols[symbol]

    def change(self, state: SymbolBook, **changes: Any) -> SymbolBook:
        """Replace fields of a symbol's book and keep the result."""
        changed = dataclasses.replace(state, **changes)
        self.book = self.book.with_symbol(changed)
        return changed

    def change_trade(self, state: SymbolBook, **changes: Any) -> SymbolBook:
        """Replace fields of the symbol's open trade."""
        assert state.trade is not None
        return self.change(state, trade=dataclasses.replace(state.trade, **changes))

    def add_order(
        self, state: SymbolBook, order: NewOrder, leg: Leg, reason: ExitReason | None = None
    ) -> SymbolBook:
        """Enter an order in the book as being placed; final ones of the past are forgotten."""
        kept = {key: own for key, own in state.orders.items() if not _is_forgettable(own, state)}
        kept[order.client_id] = OwnOrder(
            order=order, leg=leg, state=OrderState.PLACING, reason=reason
        )
        return self.change(state, orders=kept)

    def move_order(
        self, state: SymbolBook, own_id: str, to: OrderState, venue_id: int | None = None
    ) -> SymbolBook:
        """Advance an order of ours by the table; remember the venue's id once known."""
        own = state.orders[own_id]
        moved = dataclasses.replace(
            own,
            state=advance(own.state, to),
            venue_id=own.venue_id if venue_id is None else venue_id,
        )
        if moved == own:
            return state
        return self.change(state, orders={**state.orders, own_id: moved})

    def close_at_market(
        self, state: SymbolBook, reason: ExitReason, leg: Leg = Leg.CLOSE
    ) -> SymbolBook:
        """Send a reduce-only market order for all that is open; nothing if one is under way."""
        trade = state.trade
        assert trade is not None
        if trade.is_closing:
            return state
        attempt = 1 + sum(own.leg is leg for own in state.orders.values())
        order = NewOrder(
            symbol=state.ready.instrument.symbol,
            side=trade.direction.exit_side,
            type=OrderType.MARKET,
            client_id=client_id(self.book.run_id, trade.key, leg, attempt),
            qty=trade.qty,
            is_reduce_only=True,
        )
        state = self.add_order(state, order, leg, reason)
        self.give(Place(order=order))
        return self.change_trade(state, is_closing=True)


def find_order(state: SymbolBook, own_id: str, venue_id: int) -> str | None:
    """Return our client id for a report that names either our id or the venue's."""
    if own_id in state.orders:
        return own_id
    for candidate, own in state.orders.items():
        if own.venue_id is not None and own.venue_id == venue_id:
            return candidate
    return None


def trade_of(state: SymbolBook) -> OpenTrade:
    """Return the open trade where the caller knows that there is one."""
    assert state.trade is not None
    return state.trade


def _is_forgettable(own: OwnOrder, state: SymbolBook) -> bool:
    # Orders of the open trade are kept, so that late reports about them still find their reason.
    return own.state.is_final and state.trade is None
