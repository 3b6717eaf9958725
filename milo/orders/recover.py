"""Going on from the book of an earlier run: what was under way then has to be found out. Pure.

The journal is written before anything is sent, so that the book rebuilt from it knows of every
order that can exist; what became of the last ones, the venue has to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from milo.orders.book import Book, OwnOrder, SymbolBook
from milo.orders.ids import Leg
from milo.orders.machine import OrderState
from milo.orders.protect import LOST_STOP_S, mind_close, start_stop_watch, watch_trigger
from milo.orders.reports import BRACKETS, look_up
from milo.orders.suspect import protect_suspect
from milo.orders.turn import Turn, trade_of


def book_to_resume(book: Book, *, run_id: str, symbols: Collection[str]) -> Book:
    """Return the book with which a run starts that follows another one.

    Symbols without position and orders are forgotten, unless they are among `symbols`.
    """
    return dataclasses.replace(
        book,
        run_id=run_id,
        is_account_stale=True,
        is_reading=False,
        reread=None,
        events_in_reading=0,
        overtaken=0,
        halted=None,
        symbols={
            symbol: state
            for symbol, state in book.symbols.items()
            if symbol in symbols or _matters(state)
        },
    )


def on_resumed(turn: Turn) -> None:
    """Ask about every order that was under way; let deadlines run again."""
    for symbol in turn.book.symbols:
        for own_id, own in turn.of(symbol).orders.items():
            _take_up(turn, symbol, own_id, own)
        state = turn.of(symbol)
        if state.trade is None:
            continue
        if not state.trade.is_stop_confirmed:
            state = start_stop_watch(turn, turn.change_trade(state, stop_watch=None))
        mind_close(turn, state)
        state = turn.of(symbol)
        stop_id = trade_of(state).stop_id
        if stop_id is not None and stop_id in state.orders:
            watch_trigger(turn, state, stop_id)


def _take_up(turn: Turn, symbol: str, own_id: str, own: OwnOrder) -> None:
    if own.is_complete:
        return
    trade = turn.of(symbol).trade
    is_left = own.leg in BRACKETS and (trade is None or trade.key != own.key)
    if is_left and turn.config.venue_expires_brackets and own.state is not OrderState.TRIGGERED:
        # It went with its position, if it was ever there.
        turn.move_order(turn.of(symbol), own_id, OrderState.ABSENT)
        return
    state = turn.change_order(turn.of(symbol), own_id, is_watched=False, asked=0)
    if own.state is OrderState.PLACING:
        # It was written down, and nobody knows whether it went out.
        state = turn.move_order(state, own_id, OrderState.UNKNOWN)
        if own.leg is Leg.STOP and turn.config.venue_expires_brackets:
            state = turn.watch_order(state, own_id, LOST_STOP_S)
    look_up(turn, state, own_id)
    protect_suspect(turn, turn.of(symbol), own_id)


def _matters(state: SymbolBook) -> bool:
    is_open = any(not own.is_complete for own in state.orders.values())
    return state.trade is not None or is_open or bool(state.foreign_qty)
