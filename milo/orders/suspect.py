"""Entries that may have filled without our having seen it: protected first, explained later. Pure.

An entry without an answer, or told as filled while its executions have not come, may stand as an
unprotected position. Its stop is sent at once, from the price for sizing. Where there is no
position the exchange refuses it, which does no harm, and it is tried again as long as nobody knows.
When the position becomes known, the stop that stands is its stop.
"""

from __future__ import annotations

from milo.commands import NoteKind, Place
from milo.inbox import Failed, Failure
from milo.model import EntryIntent, ExitReason, NewOrder, OrderType
from milo.orders.book import OwnOrder, SymbolBook
from milo.orders.brackets import bracket_order
from milo.orders.ids import Leg, client_id
from milo.orders.machine import OrderState
from milo.orders.protection import Unprotectable, plan_protection
from milo.orders.turn import Turn

UNANSWERED_S = 0.5
"""Wall seconds after which an entry without answer, or without its executions, is suspect; and
between two tries to protect it."""

NO_POSITION = -4509
STOP_IS_THERE = -4130
WOULD_TRIGGER = frozenset({-2021, -4142})
"""The exchange's codes for a stop or target that the price has already passed."""

_UNDECIDED = frozenset({OrderState.PLACING, OrderState.UNKNOWN})


def is_suspect(state: SymbolBook, own: OwnOrder) -> bool:
    """Whether an entry may have opened a position of which the book has none."""
    if own.leg is not Leg.ENTRY or state.trade is not None:
        return False
    if own.is_missing:
        # Not found; but the account shows a position that nothing else explains.
        return own.order.side.sign * state.unexplained_qty > 0
    return own.state in _UNDECIDED or own.has_unseen_fills


def protect_suspect(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Send the stop that the entry's position would have, and look again in a while."""
    own = state.orders[own_id]
    if not is_suspect(state, own) or not turn.config.may_trade:
        return
    state = turn.watch_order(state, own_id, UNANSWERED_S)
    stops = state.stops_of(own.key)
    if any(_may_stand(turn, stop) for stop in stops):
        return
    order = _suspected_stop(turn, state, own, attempt=len(stops) + 1)
    if order is not None:
        turn.add_order(state, order, Leg.STOP, key=own.key, reason=ExitReason.STOP)
        turn.give(Place(order=order))


def on_suspected_stop_failed(turn: Turn, state: SymbolBook, own: OwnOrder, failed: Failed) -> None:
    """Take in that the stop of a suspect entry was not taken; the next try is due soon anyway."""
    if failed.failure is Failure.UNKNOWN or failed.code in (NO_POSITION, STOP_IS_THERE):
        return
    entry = state.pending_entry(own.key)
    if failed.code in WOULD_TRIGGER and entry is not None:
        _close_suspect(turn, state, entry)
        return
    text = f"the stop of an entry of unknown outcome was refused: {failed.text}"
    turn.note(NoteKind.PROBLEM, state, text)


def stop_to_take_over(state: SymbolBook, key: str) -> OwnOrder | None:
    """Return the stop of a suspect entry whose position has just become known; the surest one."""
    stops = state.stops_of(key)
    standing = [stop for stop in stops if stop.state.is_standing]
    undecided = [stop for stop in stops if stop.state in _UNDECIDED]
    found = standing or undecided
    return found[-1] if found else None


def _may_stand(turn: Turn, stop: OwnOrder) -> bool:
    """Whether another try would be of no use: it stands, or its answer is still to come."""
    if stop.state is OrderState.UNKNOWN:
        # The exchange takes no second one: a try then only tells that the first is there.
        return not turn.config.venue_expires_brackets
    return not stop.state.is_final


def _suspected_stop(
    turn: Turn, state: SymbolBook, own: OwnOrder, *, attempt: int
) -> NewOrder | None:
    assert own.entering is not None
    signal, leverage = own.entering.signal, own.entering.leverage
    assert isinstance(signal.intent, EntryIntent)
    assert own.order.qty is not None
    try:
        plan = plan_protection(
            signal.intent,
            entry_price=signal.price,
            qty=own.order.qty,
            leverage=leverage,
            atr=signal.atr,
            instrument=state.ready.instrument,
            brackets=state.ready.brackets,
        )
    except Unprotectable:  # it was protectable when it was sized; nothing else can be planned
        return None
    return bracket_order(
        symbol=own.order.symbol,
        direction=signal.intent.direction,
        run_id=turn.book.run_id,
        key=own.key,
        leg=Leg.STOP,
        trigger_price=plan.stop_price,
        attempt=attempt,
    )


def _close_suspect(turn: Turn, state: SymbolBook, entry: OwnOrder) -> None:
    """Close what the entry may have opened: the price is beyond its stop already."""
    closes = [own for own in state.orders.values() if own.key == entry.key and own.leg is Leg.CLOSE]
    if any(not own.state.is_final for own in closes):
        return
    order = NewOrder(
        symbol=entry.order.symbol,
        side=entry.order.side.opposite,
        type=OrderType.MARKET,
        client_id=client_id(turn.book.run_id, entry.key, Leg.CLOSE, len(closes) + 1),
        qty=entry.order.qty,
        is_reduce_only=True,
    )
    text = "an entry of unknown outcome is beyond its stop already: closing what there is"
    turn.note(NoteKind.PROBLEM, state, text)
    turn.add_order(state, order, Leg.CLOSE, key=entry.key, reason=ExitReason.STOP)
    turn.give(Place(order=order))
