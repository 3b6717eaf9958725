"""Moving a stop nearer: the position is never without one that is at least as protective. Pure.

A stop placed before the whole entry was known can lie farther away than the action asks for. The
exchange cannot change a conditional order, and with an Algo service takes no second one that closes
the whole position. There a bridge, a reduce-only stop of the position's quantity at the new price,
is placed first; once it stands the old stop is cancelled, the new one placed, and the bridge
cancelled last. Elsewhere the new stop is placed beside the old one, which goes when it stands. A
stop is never moved away from the price.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from milo.commands import NoteKind, Place
from milo.inbox import Failed
from milo.model import ExitReason
from milo.money import plain
from milo.orders.book import SymbolBook
from milo.orders.brackets import bracket_order
from milo.orders.ids import Leg
from milo.orders.suspect import WOULD_TRIGGER
from milo.orders.turn import Turn, trade_of


def tighten(turn: Turn, state: SymbolBook, price: Decimal) -> None:
    """Begin to move the confirmed stop to `price`, where that is nearer to the market."""
    trade = trade_of(state)
    if trade.is_closing or trade.bridge_id is not None or not turn.config.may_trade:
        return
    if not trade.is_stop_confirmed or trade.stop_price is None:
        return
    if trade.direction.sign * (price - trade.stop_price) <= 0:
        return
    attempt = trade.attempts + 1
    order = bracket_order(
        symbol=state.ready.instrument.symbol,
        direction=trade.direction,
        run_id=turn.book.run_id,
        key=trade.key,
        leg=Leg.STOP,
        trigger_price=price,
        attempt=attempt,
    )
    if turn.config.venue_expires_brackets:
        order = dataclasses.replace(
            order, is_close_position=False, is_reduce_only=True, qty=trade.qty
        )
    state = turn.change_trade(state, bridge_id=order.client_id, next_stop=price, attempts=attempt)
    turn.add_order(state, order, Leg.STOP, key=trade.key, reason=ExitReason.STOP)
    turn.give(Place(order=order))


def on_bridge_stands(turn: Turn, state: SymbolBook) -> None:
    """Let the old stop go, now that one stands which protects more."""
    trade = trade_of(state)
    assert trade.bridge_id is not None
    old_id = trade.stop_id
    if not state.orders[trade.bridge_id].order.is_reduce_only:
        state = turn.change_trade(
            state,
            stop_id=trade.bridge_id,
            stop_price=trade.next_stop,
            is_stop_confirmed=True,
            stop_watch=None,
            bridge_id=None,
            next_stop=None,
        )
    if old_id is not None and old_id != trade.bridge_id:
        turn.cancel(state.ready.instrument.symbol, old_id, is_conditional=True)


def on_bridge_failed(turn: Turn, state: SymbolBook, failed: Failed) -> None:
    """Keep the old stop; or leave, where the price has passed the new one already."""
    price = trade_of(state).next_stop
    state = forget_bridge(turn, state)
    if failed.code in WOULD_TRIGGER:
        shown = "" if price is None else f" {plain(price)}"
        turn.note(NoteKind.PROBLEM, state, f"the price has passed the new stop{shown}: closing")
        turn.close_at_market(state, ExitReason.STOP)


def forget_bridge(turn: Turn, state: SymbolBook) -> SymbolBook:
    """Go on without it: it is not there, or no longer needed."""
    return turn.change_trade(state, bridge_id=None, next_stop=None)


def drop_bridge(turn: Turn, state: SymbolBook) -> SymbolBook:
    """Cancel the bridge, once the stop that it stood in for is confirmed."""
    trade = trade_of(state)
    bridge = state.orders.get(trade.bridge_id or "")
    if bridge is None:
        return state
    if not bridge.state.is_final:
        turn.cancel(bridge.order.symbol, bridge.order.client_id, is_conditional=True)
    return forget_bridge(turn, state)
