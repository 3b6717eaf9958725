"""Stop and target of an open position: placed, confirmed, replaced, swept away. Pure.

Entry, then stop, then target, each confirmed. A position whose stop is refused, or not confirmed in
time, is closed at market.
"""

from __future__ import annotations

from decimal import Decimal

from milo.commands import Cancel, LookUp, NoteKind, Place, ReadAccount, WatchStop
from milo.inbox import Failed, Failure, StopOverdue
from milo.model import (
    AmountKind,
    EntryIntent,
    ExitReason,
    NewOrder,
    OrderReport,
    OrderType,
)
from milo.money import plain
from milo.orders.book import SymbolBook
from milo.orders.ids import Leg, client_id
from milo.orders.lines import entry_line
from milo.orders.machine import OrderState
from milo.orders.protection import Protection, Unprotectable, plan_protection
from milo.orders.turn import Turn, trade_of

WOULD_TRIGGER = frozenset({-2021, -4142})
"""The exchange's codes for a stop or target that the price has already passed."""


def ensure_protection(turn: Turn, state: SymbolBook) -> None:
    """Place the stop of a position that has none, from its average entry price."""
    trade = trade_of(state)
    if trade.is_closing or trade.stop_id is not None:
        return
    try:
        plan = _plan(state)
    except Unprotectable as error:
        turn.note(NoteKind.PROBLEM, state, f"position closed at once: {error}")
        turn.close_at_market(state, ExitReason.STOP)
        return
    attempt = trade.attempts + 1
    order = _bracket_order(turn, state, Leg.STOP, plan.stop_price, attempt)
    state = turn.change_trade(
        state,
        stop_id=order.client_id,
        stop_price=plan.stop_price,
        target_price=plan.target_price,
        liquidation=plan.liquidation,
        attempts=attempt,
        is_stop_confirmed=False,
    )
    turn.add_order(state, order, Leg.STOP, ExitReason.STOP)
    turn.give(Place(order=order))
    turn.give(
        WatchStop(
            symbol=order.symbol,
            client_id=order.client_id,
            after_s=turn.config.stop_deadline_s,
        )
    )


def on_bracket_report(turn: Turn, state: SymbolBook, own_id: str, report: OrderReport) -> None:
    """Follow a stop's or a target's own state."""
    trade = state.trade
    if trade is None or own_id not in (trade.stop_id, trade.target_id):
        return
    now = state.orders[own_id].state
    if own_id == trade.stop_id:
        _on_stop_state(turn, state, now)
    elif now is OrderState.OPEN:
        _announce(turn, state)
    elif now in (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED):
        turn.change_trade(state, target_id=None)
        turn.give(ReadAccount(why="the target is gone"))


def _on_stop_state(turn: Turn, state: SymbolBook, now: OrderState) -> None:
    trade = trade_of(state)
    if now in (OrderState.OPEN, OrderState.TRIGGERED) and not trade.is_stop_confirmed:
        state = turn.change_trade(state, is_stop_confirmed=True)
        _place_target(turn, state)
    elif now in (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED):
        # The exchange ends closePosition orders once the position is gone; its own word on
        # the position decides whether this one must be replaced.
        turn.give(ReadAccount(why="the stop is gone"))


def _place_target(turn: Turn, state: SymbolBook) -> None:
    trade = trade_of(state)
    if trade.target_price is None or trade.target_id is not None or trade.is_closing:
        _announce(turn, state)
        return
    order = _bracket_order(turn, state, Leg.TARGET, trade.target_price, trade.attempts)
    state = turn.change_trade(state, target_id=order.client_id)
    turn.add_order(state, order, Leg.TARGET, ExitReason.TARGET)
    turn.give(Place(order=order))


def _announce(turn: Turn, state: SymbolBook) -> None:
    trade = trade_of(state)
    if not trade.is_announced and trade.is_stop_confirmed:
        turn.note(NoteKind.ENTRY, state, entry_line(trade, state.ready.instrument.tick))
        turn.change_trade(state, is_announced=True)


def on_bracket_failed(turn: Turn, state: SymbolBook, leg: Leg, failed: Failed) -> None:
    """React to a stop or target that was not taken, or whose outcome is unknown."""
    trade = state.trade
    if trade is None or failed.client_id not in (trade.stop_id, trade.target_id):
        return
    if failed.failure is Failure.UNKNOWN:
        turn.give(
            LookUp(
                symbol=failed.symbol,
                client_id=failed.client_id,
                is_conditional=True,
                is_protective=True,
            )
        )
    elif leg is Leg.STOP:
        turn.note(NoteKind.PROBLEM, state, f"stop refused, closing at market: {failed.text}")
        turn.close_at_market(state, ExitReason.STOP)
    elif failed.code in WOULD_TRIGGER:
        turn.note(NoteKind.INFO, state, "the price is beyond the target already: closing")
        turn.close_at_market(state, ExitReason.TARGET)
    else:
        turn.note(NoteKind.PROBLEM, state, f"target refused, the stop stays: {failed.text}")
        state = turn.change_trade(state, target_id=None, target_price=None)
        _announce(turn, state)


def on_bracket_absent(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """A stop or target that was sent is not there: place the stop again."""
    trade = state.trade
    if trade is None:
        return
    if own_id == trade.stop_id:
        state = turn.change_trade(state, stop_id=None)
        ensure_protection(turn, state)
    elif own_id == trade.target_id:
        state = turn.change_trade(state, target_id=None)
        if trade.is_stop_confirmed:
            _place_target(turn, state)


def on_stop_overdue(turn: Turn, event: StopOverdue) -> None:
    """Close the position if the stop of the watch is still not confirmed."""
    state = turn.of(event.symbol)
    trade = state.trade
    if trade is None or trade.is_stop_confirmed or trade.is_closing:
        return
    turn.note(
        NoteKind.PROBLEM,
        state,
        f"stop not confirmed within {turn.config.stop_deadline_s:g} s: closing at market",
    )
    turn.close_at_market(state, ExitReason.STOP)


def sweep_leftovers(turn: Turn, state: SymbolBook) -> None:
    """Cancel stop and target of a position that is gone, where the venue does not do it itself."""
    for own_id, own in state.orders.items():
        if own.leg not in (Leg.STOP, Leg.TARGET) or own.state.is_final:
            continue
        if turn.config.venue_expires_brackets and own.order.is_close_position:
            continue
        turn.give(
            Cancel(
                symbol=own.order.symbol,
                client_id=own_id,
                is_conditional=own.order.is_conditional,
            )
        )


def _plan(state: SymbolBook) -> Protection:
    trade = trade_of(state)
    return plan_protection(
        trade.intent or _bare_intent(state),
        entry_price=trade.entry_price,
        qty=trade.qty,
        leverage=trade.leverage,
        atr=trade.atr,
        instrument=state.ready.instrument,
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
    kind = OrderType.STOP_MARKET if leg is Leg.STOP else OrderType.TAKE_PROFIT_MARKET
    return NewOrder(
        symbol=state.ready.instrument.symbol,
        side=trade.direction.exit_side,
        type=kind,
        client_id=client_id(turn.book.run_id, trade.key, leg, attempt),
        trigger_price=Decimal(plain(trigger_price)),
        is_close_position=True,
    )
