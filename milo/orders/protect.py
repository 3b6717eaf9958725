"""Stop and target of an open position: placed, confirmed, replaced, swept away. Pure.

Entry, then stop, then target, each confirmed. A position whose stop is refused, or not confirmed in
time, is closed at market. The stop is measured from the average price of the entry's fills: where
they come in parts, it waits for the rest of them, but a fraction of a second at most.
"""

from __future__ import annotations

from decimal import Decimal

from milo.commands import LookUp, NoteKind, Place, WatchStop
from milo.inbox import Failed, Failure
from milo.model import (
    AmountKind,
    EntryIntent,
    ExitReason,
    NewOrder,
    OrderReport,
    OrderStatus,
)
from milo.orders.book import OwnOrder, SymbolBook
from milo.orders.brackets import bracket_order
from milo.orders.ids import Leg, client_id
from milo.orders.lines import entry_line
from milo.orders.machine import OrderState
from milo.orders.protection import Protection, Unprotectable, default_stop, plan_protection
from milo.orders.suspect import (
    NO_POSITION,
    STOP_IS_THERE,
    WOULD_TRIGGER,
    on_suspected_stop_failed,
)
from milo.orders.tighten import (
    drop_bridge,
    forget_bridge,
    on_bridge_failed,
    on_bridge_stands,
    tighten,
)
from milo.orders.turn import Turn, trade_of

DISPUTED = frozenset({STOP_IS_THERE, NO_POSITION})
"""Codes that contradict our picture: another stop is there already, or no position is."""
DISPUTED_TRIES = 3
TARGET_TRIES = 3
STOP_TRIES = 8
"""Stops sent for a position whose earlier ones were lost on the way."""
LOST_STOP_S = 0.15
"""Wall seconds after which a stop whose answer was lost is sent again, where that is safe; and in
which a closing order of unknown outcome may still tell of itself when the stop beside it ends."""
TRIGGER_DEADLINE_S = 2.0
"""Wall seconds that a stop may stay triggered without its order filling."""

_LIVE = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


def on_entry_progress(turn: Turn, symbol: str, own_id: str, *, is_due: bool = False) -> None:
    """Protect what an entry has filled: once it is complete, or when waiting for more is over."""
    state = turn.of(symbol)
    own, trade = state.orders[own_id], state.trade
    if trade is None or trade.key != own.key or trade.is_closing:
        return
    if trade.stop_id is not None:
        _check_again(turn, state, may_move=own.is_complete)
        state = turn.of(symbol)
        if trade_of(state).target_id is None and not trade_of(state).is_announced:
            ensure_target(turn, state)
    elif own.is_complete or is_due:
        ensure_protection(turn, state)


def _check_again(turn: Turn, state: SymbolBook, *, may_move: bool) -> None:
    """Judge stop and target by the average price as it now is.

    The stop stays, unless it belongs nearer and nothing more will come in.
    """
    trade = trade_of(state)
    try:
        plan = _plan(state)
    except Unprotectable as error:
        _close_unprotectable(turn, state, error)
        return
    is_target_sent = trade.target_id is not None
    target_price = trade.target_price if is_target_sent else plan.target_price
    state = turn.change_trade(state, liquidation=plan.liquidation, target_price=target_price)
    if may_move and not plan.is_default_stop:
        tighten(turn, state, plan.stop_price)


def start_stop_watch(turn: Turn, state: SymbolBook) -> SymbolBook:
    """Let the deadline for a confirmed stop run, from the first moment without one."""
    trade = trade_of(state)
    if trade.stop_watch is not None:
        return state
    watched = client_id(turn.book.run_id, trade.key, Leg.STOP, trade.attempts + 1)
    symbol = state.ready.instrument.symbol
    turn.give(WatchStop(symbol=symbol, client_id=watched, after_s=turn.config.stop_deadline_s))
    return turn.change_trade(state, stop_watch=watched)


def ensure_protection(turn: Turn, state: SymbolBook) -> None:
    """Place the stop of a position that has none, from its average entry price."""
    trade = trade_of(state)
    if trade.is_closing or trade.stop_id is not None or not turn.config.may_trade:
        return
    state = start_stop_watch(turn, state)
    try:
        plan = _plan(state)
    except Unprotectable as error:
        _close_unprotectable(turn, state, error)
        return
    attempt = trade.attempts + 1
    order = _bracket_order(turn, state, Leg.STOP, plan.stop_price, attempt)
    is_target_sent = trade.target_id is not None
    state = turn.change_trade(
        state,
        stop_id=order.client_id,
        stop_price=plan.stop_price,
        target_price=trade.target_price if is_target_sent else plan.target_price,
        liquidation=plan.liquidation,
        attempts=attempt,
        is_stop_confirmed=False,
    )
    turn.add_order(state, order, Leg.STOP, key=trade.key, reason=ExitReason.STOP)
    turn.give(Place(order=order))


def ensure_target(turn: Turn, state: SymbolBook) -> None:
    """Place the target of a position whose stop is confirmed, or say that the entry is done."""
    trade = trade_of(state)
    if trade.is_closing or not trade.is_stop_confirmed or not turn.config.may_trade:
        return
    if trade.target_price is None or trade.target_id is not None:
        announce(turn, state)
        return
    attempt = trade.target_attempts + 1
    if attempt > TARGET_TRIES:
        _give_up_target(turn, state, f"placed {TARGET_TRIES} times and gone each time")
        return
    order = _bracket_order(turn, state, Leg.TARGET, trade.target_price, attempt)
    state = turn.change_trade(state, target_id=order.client_id, target_attempts=attempt)
    turn.add_order(state, order, Leg.TARGET, key=trade.key, reason=ExitReason.TARGET)
    turn.give(Place(order=order))


def on_bracket_report(
    turn: Turn, symbol: str, own_id: str, report: OrderReport, *, has_moved: bool
) -> None:
    """Follow a stop's or a target's own state as it is confirmed."""
    state = turn.of(symbol)
    trade = state.trade
    if trade is not None and own_id == trade.bridge_id:
        if has_moved and state.orders[own_id].state is OrderState.OPEN:
            on_bridge_stands(turn, state)
    elif trade is None or own_id not in (trade.stop_id, trade.target_id):
        _on_orphan(turn, state, own_id, report)
    elif own_id == trade.stop_id and state.orders[own_id].state.is_standing:
        if has_moved:
            _confirm(turn, state)
        watch_trigger(turn, turn.of(symbol), own_id)
    elif not has_moved:
        return
    elif own_id == trade.target_id and state.orders[own_id].state is OrderState.OPEN:
        announce(turn, state)


def on_bracket_ended(turn: Turn, symbol: str, own_id: str) -> None:
    """See after a position that is still open though its stop or target has ended.

    The exchange ends closePosition orders once the position is gone, and its word on that may come
    first; a triggered one can also fill in part only. Its word on the position decides.
    """
    state = turn.of(symbol)
    trade = state.trade
    if trade is not None and own_id == trade.bridge_id:
        forget_bridge(turn, state)
        return
    if trade is None or own_id not in (trade.stop_id, trade.target_id):
        return
    if own_id == trade.stop_id and _is_bridged(state):
        # It went because the bridge stands: now the stop that is to stay.
        ensure_protection(turn, turn.change_trade(state, stop_id=None, is_stop_confirmed=False))
        return
    if own_id == trade.target_id:
        turn.change_trade(state, target_id=None)
        turn.read_account("the target is gone")
        return
    state = start_stop_watch(turn, turn.change_trade(state, is_stop_confirmed=False))
    mind_close(turn, state)
    turn.read_account("the stop is gone")


def mind_close(turn: Turn, state: SymbolBook) -> None:
    """Look again at a closing order of unknown outcome, which may now be all that protects."""
    closing_id = trade_of(state).closing_id
    if closing_id is not None and state.orders[closing_id].state is OrderState.UNKNOWN:
        turn.watch_order(state, closing_id, LOST_STOP_S)


def _is_bridged(state: SymbolBook) -> bool:
    bridge = state.orders.get(trade_of(state).bridge_id or "")
    return bridge is not None and bridge.state is OrderState.OPEN


def _confirm(turn: Turn, state: SymbolBook) -> None:
    if trade_of(state).is_stop_confirmed:
        return
    state = turn.change_trade(state, is_stop_confirmed=True, stop_watch=None)
    state = drop_bridge(turn, state)
    ensure_target(turn, state)


def watch_trigger(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Let a deadline run for a stop that has been triggered and has not filled."""
    if state.trade is not None and state.orders[own_id].state is OrderState.TRIGGERED:
        turn.watch_order(state, own_id, TRIGGER_DEADLINE_S)


def on_stop_order_overdue(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Act on a stop that has been triggered for long, or whose answer was lost."""
    trade, own = state.trade, state.orders[own_id]
    if trade is None or trade.stop_id != own_id:
        return
    if trade.is_closing:
        mind_close(turn, state)
    elif own.state is OrderState.TRIGGERED:
        text = f"the stop triggered and did not fill within {TRIGGER_DEADLINE_S:g} s: closing"
        turn.note(NoteKind.PROBLEM, state, text)
        turn.close_at_market(state, ExitReason.STOP)
    elif own.state is OrderState.UNKNOWN and trade.attempts < STOP_TRIES:
        # No second stop can stand beside the first: this one takes its place, or tells of it.
        ensure_protection(turn, turn.change_trade(state, stop_id=None))


def _on_orphan(turn: Turn, state: SymbolBook, own_id: str, report: OrderReport) -> None:
    """Deal with a stop or target that stands at the venue and is not the position's own."""
    own, trade = state.orders[own_id], state.trade
    entry = state.pending_entry(own.key)
    if trade is None and entry is not None:
        # It waits for the position of an entry whose outcome is not known yet.
        if entry.is_missing:
            turn.give(
                LookUp(
                    symbol=report.symbol,
                    client_id=entry.order.client_id,
                    is_conditional=False,
                    is_protective=True,
                )
            )
        return
    if trade is None or trade.key != own.key:
        if report.status in _LIVE:
            cancel_bracket(turn, own_id, own)
    elif own.state is not OrderState.OPEN:
        # An old report about an order that has ended since: it protects nothing.
        return
    elif own.leg is Leg.STOP and not trade.is_stop_confirmed:
        # Given up as absent, and now it is there: better than one that is still on its way.
        state = turn.change_trade(state, stop_id=own_id, stop_price=own.order.trigger_price)
        _confirm(turn, state)
    else:
        turn.cancel(report.symbol, own_id, is_conditional=True)


def cancel_bracket(turn: Turn, own_id: str, own: OwnOrder) -> None:
    """Cancel a stop or target whose position is gone, where the venue does not do it itself."""
    if turn.config.venue_expires_brackets and own.order.is_close_position:
        return
    turn.cancel(own.order.symbol, own_id, is_conditional=True)


def sweep_leftovers(turn: Turn, state: SymbolBook) -> None:
    """Cancel stop and target of a position that is gone, and what earlier ones left.

    The stop of another entry that may still fill stays.
    """
    key = trade_of(state).key
    for own_id, own in state.orders.items():
        is_awaited = own.key != key and state.pending_entry(own.key) is not None
        if own.leg in (Leg.STOP, Leg.TARGET) and not own.state.is_final and not is_awaited:
            cancel_bracket(turn, own_id, own)


def sweep_suspected_stops(turn: Turn, state: SymbolBook, key: str) -> None:
    """Cancel the stops of an entry that has ended without a position, where they may stand."""
    if state.trade is not None or state.pending_entry(key) is not None:
        return
    for own in state.stops_of(key):
        if not own.state.is_final:
            cancel_bracket(turn, own.order.client_id, own)


def announce(turn: Turn, state: SymbolBook) -> None:
    """Say once, in one line, what was entered and how it is protected."""
    trade = trade_of(state)
    if trade.is_announced:
        return
    turn.note(NoteKind.ENTRY, state, entry_line(trade, state.ready.instrument.tick))
    turn.change_trade(state, is_announced=True)


def on_bracket_failed(turn: Turn, state: SymbolBook, own_id: str, failed: Failed) -> None:
    """React to a stop or target that was not taken, or whose outcome is unknown."""
    trade = state.trade
    if failed.failure is Failure.UNKNOWN:
        # Also once its position is gone: it may be there and then has to go.
        look_up_bracket(turn, state, own_id)
        is_stop = trade is not None and own_id == trade.stop_id
        if is_stop and turn.config.venue_expires_brackets:
            turn.watch_order(
                turn.change_order(state, own_id, is_watched=False), own_id, LOST_STOP_S
            )
    elif trade is None and state.pending_entry(state.orders[own_id].key) is not None:
        on_suspected_stop_failed(turn, state, state.orders[own_id], failed)
    elif trade is not None and own_id == trade.bridge_id:
        on_bridge_failed(turn, state, failed)
    elif trade is None or own_id not in (trade.stop_id, trade.target_id):
        return
    elif own_id == trade.stop_id:
        _on_stop_refused(turn, state, failed)
    elif failed.code in WOULD_TRIGGER:
        turn.note(NoteKind.INFO, state, "the price is beyond the target already: closing")
        turn.close_at_market(state, ExitReason.TARGET)
    elif failed.code in DISPUTED:
        turn.change_trade(state, target_id=None)
        turn.read_account(f"target refused: {failed.text}")
    else:
        _give_up_target(turn, state, failed.text)


def _on_stop_refused(turn: Turn, state: SymbolBook, failed: Failed) -> None:
    lost = _lost_stop(state)
    if failed.code == STOP_IS_THERE and lost is not None:
        # The one whose answer was lost had arrived.
        own_id = lost.order.client_id
        state = turn.change_trade(state, stop_id=own_id, stop_price=lost.order.trigger_price)
        _confirm(turn, state)
        return
    if failed.code in DISPUTED and trade_of(state).attempts < DISPUTED_TRIES:
        turn.change_trade(state, stop_id=None)
        turn.read_account(f"stop refused: {failed.text}")
        return
    turn.note(NoteKind.PROBLEM, state, f"stop refused, closing at market: {failed.text}")
    turn.close_at_market(state, ExitReason.STOP)


def _lost_stop(state: SymbolBook) -> OwnOrder | None:
    stops = state.stops_of(trade_of(state).key)
    return next(
        (
            own
            for own in stops
            if own.state is OrderState.UNKNOWN or (own.is_doubted and own.state is OrderState.OPEN)
        ),
        None,
    )


def _give_up_target(turn: Turn, state: SymbolBook, why: str) -> None:
    turn.note(NoteKind.PROBLEM, state, f"target refused, the stop stays: {why}")
    state = turn.change_trade(state, target_id=None, target_price=None)
    announce(turn, state)


def look_up_bracket(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Ask what became of a stop or target."""
    turn.give(
        LookUp(
            symbol=state.ready.instrument.symbol,
            client_id=own_id,
            is_conditional=True,
            is_protective=True,
        )
    )


def on_bracket_absent(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """A stop or target that was sent is not there: place it again."""
    trade = state.trade
    if trade is None:
        return
    if own_id == trade.bridge_id:
        forget_bridge(turn, state)
    elif own_id == trade.stop_id:
        state = turn.change_trade(state, stop_id=None, is_stop_confirmed=False)
        mind_close(turn, state)
        ensure_protection(turn, turn.of(state.ready.instrument.symbol))
    elif own_id == trade.target_id:
        state = turn.change_trade(state, target_id=None)
        ensure_target(turn, state)


def on_stop_overdue(turn: Turn, state: SymbolBook) -> None:
    """Close the position whose stop was not confirmed in time."""
    state = turn.change_trade(state, stop_watch=None)
    if trade_of(state).is_closing:
        return
    turn.note(
        NoteKind.PROBLEM,
        state,
        f"stop not confirmed within {turn.config.stop_deadline_s:g} s: closing at market",
    )
    turn.close_at_market(state, ExitReason.STOP)


def _close_unprotectable(turn: Turn, state: SymbolBook, error: Unprotectable) -> None:
    turn.note(NoteKind.PROBLEM, state, f"position closed at once: {error}")
    turn.close_at_market(state, ExitReason.STOP)


def _plan(state: SymbolBook) -> Protection:
    trade = trade_of(state)
    instrument = state.ready.instrument
    if trade.intent is None and trade.liquidation is not None:
        # Adopted: the venue's own liquidation price is better than any that we work out.
        return Protection(
            stop_price=default_stop(
                trade.direction, trade.entry_price, trade.liquidation, instrument.tick
            ),
            target_price=trade.target_price,
            liquidation=trade.liquidation,
            is_default_stop=True,
        )
    return plan_protection(
        trade.intent or _bare_intent(state),
        entry_price=trade.entry_price,
        qty=trade.qty,
        leverage=trade.leverage,
        atr=trade.atr,
        instrument=instrument,
        brackets=state.ready.brackets,
    )


def _bare_intent(state: SymbolBook) -> EntryIntent:
    # An adopted position: nothing is known of its action, so it gets the engine's own stop.
    trade = trade_of(state)
    return EntryIntent(
        direction=trade.direction,
        amount=Decimal(1),
        amount_kind=AmountKind.MARGIN,
        leverage=Decimal(trade.leverage),
    )


def _bracket_order(
    turn: Turn, state: SymbolBook, leg: Leg, trigger_price: Decimal, attempt: int
) -> NewOrder:
    trade = trade_of(state)
    return bracket_order(
        symbol=state.ready.instrument.symbol,
        direction=trade.direction,
        run_id=turn.book.run_id,
        key=trade.key,
        leg=leg,
        trigger_price=trigger_price,
        attempt=attempt,
    )
