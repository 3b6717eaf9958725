"""Market orders that close a position: what their end means for it. Pure.

A position is done with only when its executions say so. A closing order that ends with some of the
position still open is followed by another one, sooner or later.
"""

from __future__ import annotations

from milo.commands import NoteKind
from milo.model import ExitReason
from milo.money import plain
from milo.orders.book import OwnOrder, SymbolBook
from milo.orders.fills import settle_part
from milo.orders.ids import Leg
from milo.orders.machine import OrderState
from milo.orders.protect import ensure_protection
from milo.orders.turn import Turn

RETRY_S = 0.25
RETRY_LIMIT_S = 1.0
CLOSE_TRIES = 6
"""So many orders are sent to close a position whose stop stands; without limit where none does, or
once the kill switch was thrown."""
UNKNOWN_CLOSE_S = 0.4
"""Wall seconds that a closing order of unknown outcome is waited for, where no stop stands."""

CLOSING = frozenset({Leg.CLOSE, Leg.REVERSE})


def on_close_progress(turn: Turn, symbol: str, own_id: str, *, has_moved: bool) -> None:
    """Follow a closing order: write its row once it is complete, and go on if need be."""
    own = turn.of(symbol).orders[own_id]
    if not own.is_complete:
        return
    settle_part(turn, symbol, own_id)
    state = turn.of(symbol)
    trade = state.trade
    if trade is None:
        return
    if trade.closing_id != own_id:
        if has_moved and own.state is not OrderState.FILLED:
            turn.note(NoteKind.PROBLEM, state, _short_words(own))
    elif own.state is OrderState.FILLED:
        # It did its part: more had come in, or one order cannot carry it all.
        state = turn.change_trade(state, closing_id=None)
        turn.close_at_market(state, own.reason or ExitReason.CLOSE, own.leg)
    else:
        on_close_failed(turn, state, own_id, _short_words(own))


def on_close_failed(turn: Turn, state: SymbolBook, own_id: str, text: str) -> None:
    """Give up a closing order; the position's state is read before anything else is tried."""
    trade = state.trade
    if trade is None:
        return
    turn.note(NoteKind.PROBLEM, state, text)
    if trade.closing_id != own_id:
        turn.read_account("a closing order was refused")
        return
    state = _drop_queued(turn, turn.change_trade(state, closing_id=None))
    turn.read_account("a closing order was refused")
    delay_s = min(RETRY_S * 2 ** (trade.closes - 1), RETRY_LIMIT_S)
    turn.watch_order(turn.change_order(state, own_id, is_watched=False), own_id, delay_s)


def on_close_overdue(turn: Turn, state: SymbolBook, own: OwnOrder) -> None:
    """Go on after the pause that follows a closing order which failed again."""
    trade = state.trade
    if trade is not None and own.state is OrderState.UNKNOWN and _is_alone(state, own):
        # Nobody knows whether it arrived, and finding out takes long. What only reduces may be
        # sent again: it cannot open anything.
        text = "a closing order was not answered: trying again"
        turn.note(NoteKind.PROBLEM, state, text)
        state = turn.change_trade(state, closing_id=None, stop_id=None, is_stop_confirmed=False)
        ensure_protection(turn, state)
        return
    if not own.is_complete or trade is None or trade.key != own.key or trade.is_closing:
        return
    stop = state.orders.get(trade.stop_id or "")
    if stop is None or stop.state.is_final:
        # Nothing protects it, and reading the account may take long: try the stop again.
        state = turn.change_trade(state, stop_id=None, is_stop_confirmed=False)
        ensure_protection(turn, state)
    elif turn.book.halted is not None or trade.closes < CLOSE_TRIES:
        turn.close_at_market(state, own.reason or ExitReason.CLOSE, own.leg)
    else:
        text = f"refused {trade.closes} times: the position stays, with its stop"
        turn.note(NoteKind.PROBLEM, state, text)
        turn.read_account("closing orders were refused")


def on_close_unknown(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Wait a moment for what a look-up says of the position's closing order."""
    trade = state.trade
    if trade is not None and trade.closing_id == own_id:
        turn.watch_order(state, own_id, UNKNOWN_CLOSE_S)


def _is_alone(state: SymbolBook, own: OwnOrder) -> bool:
    """Whether this order is all that protects the position."""
    trade = state.trade
    if trade is None or trade.closing_id != own.order.client_id:
        return False
    stop = state.orders.get(trade.stop_id or "")
    # One that has triggered is a market order by now: it may have ended with a part of it open.
    return stop is None or stop.state is not OrderState.OPEN


def _drop_queued(turn: Turn, state: SymbolBook) -> SymbolBook:
    # Where the account says flat already, the refusal only means that another order was faster.
    if state.queued is None or not state.venue_qty:
        return state
    turn.note(
        NoteKind.REFUSED, state, f"{state.queued.action} not sent: the close before it failed"
    )
    return turn.change(state, queued=None)


def _short_words(own: OwnOrder) -> str:
    wanted = "all" if own.order.qty is None else plain(own.order.qty)
    return f"closing order ended as {own.state}: {plain(own.seen_qty)} of {wanted} closed"
