"""What the venue says of our orders, from streams, answers and look-ups, in any order. Pure."""

from __future__ import annotations

from milo.commands import LookUp, NoteKind
from milo.events import OrderEvent
from milo.inbox import FillFound, StopOverdue
from milo.model import Fill, OrderReport
from milo.orders.book import Execution, OwnOrder, SymbolBook
from milo.orders.closing import CLOSING, on_close_overdue, on_close_progress
from milo.orders.fills import claim, on_fill, settle_part
from milo.orders.ids import Leg
from milo.orders.machine import OrderState, state_of
from milo.orders.protect import (
    look_up_bracket,
    on_bracket_ended,
    on_bracket_report,
    on_entry_progress,
    on_stop_order_overdue,
    on_stop_overdue,
    sweep_suspected_stops,
)
from milo.orders.suspect import UNANSWERED_S, is_suspect, protect_suspect
from milo.orders.turn import Turn, find_order, match_report

BRACKETS = frozenset({Leg.STOP, Leg.TARGET})
FILL_DEADLINE_S = 1.0
"""An order that is told as filled before its executions are: when to ask for them."""
LONGEST_WAIT = 6
"""The deadline doubles each time that asking did not help, this often at most."""
PART_DEADLINE_S = 0.25
"""How long the stop may wait for the rest of an entry that fills in parts."""


def on_order_event(turn: Turn, event: OrderEvent) -> None:
    """Take in a report about a regular order, and its execution where it is one."""
    report = event.report
    if report.symbol not in turn.book.symbols:
        return
    state = turn.of(report.symbol)
    own_id = match_report(state, report)
    has_moved = own_id is not None and _take_report(turn, state, own_id, report)
    if event.fill is not None:
        execution = Execution(
            fill=event.fill,
            own_id=own_id,
            is_liquidation=event.is_liquidation,
            is_order_done=report.status.is_final,
        )
        on_fill(turn, execution)
    if own_id is not None:
        _follow(turn, own_id, report, is_news=has_moved or event.fill is not None)


def on_report(turn: Turn, report: OrderReport) -> None:
    """Take in a report without execution: an answer, a look-up, a conditional order's event."""
    if report.symbol not in turn.book.symbols:
        return
    state = turn.of(report.symbol)
    own_id = match_report(state, report)
    if own_id is not None:
        has_moved = _take_report(turn, state, own_id, report)
        _follow(turn, own_id, report, is_news=has_moved)


def on_accepted(turn: Turn, report: OrderReport) -> None:
    """Take in the venue's answer to an order: an entry's settings were made before it was sent."""
    state = turn.book.symbols.get(report.symbol)
    own = None if state is None else state.orders.get(report.client_id)
    if state is not None and own is not None and own.entering is not None:
        turn.change(state, is_isolated=True, leverage=own.entering.leverage)
    on_report(turn, report)


def on_fill_found(turn: Turn, event: FillFound) -> None:
    """Take in an execution from the venue's list; it may tell of an order by number only."""
    fill = event.fill
    state = turn.book.symbols.get(fill.symbol)
    if state is None:
        return
    if fill.trade_id in state.seen:
        # Readings overlap: nothing follows from it a second time.
        return
    own_id = find_order(state, fill.client_id, fill.venue_id)
    on_fill(turn, Execution(fill=fill, own_id=own_id))
    if any(item.fill is fill for item in turn.of(fill.symbol).waiting):
        _ask_for_names(turn, fill)
    if state.trade is None and turn.of(fill.symbol).trade is not None:
        # The stream did not tell of it, and may not have told what became of it either.
        turn.read_account("a position was found that the stream had not told")
    if own_id is not None:
        _progress(turn, fill.symbol, own_id, is_news=True)


def _ask_for_names(turn: Turn, fill: Fill) -> None:
    """Ask once more for orders that were not there: one of them may have filled."""
    state = turn.of(fill.symbol)
    for own_id in state.nameless_orders(fill.side):
        if state.orders[own_id].state is OrderState.ABSENT:
            look_up(turn, state, own_id)


def release_waiting(turn: Turn, symbol: str) -> None:
    """Take in executions that had to wait, where they need not any more."""
    waiting = turn.of(symbol).waiting
    turn.change(turn.of(symbol), waiting=())
    for item in waiting:
        on_fill(turn, item)
    state = turn.of(symbol)
    if len(state.waiting) == len(waiting):
        return
    for fill in (item.fill for item in waiting):
        own_id = find_order(turn.of(symbol), fill.client_id, fill.venue_id)
        if own_id is not None:
            _progress(turn, symbol, own_id, is_news=True)


def _take_report(turn: Turn, state: SymbolBook, own_id: str, report: OrderReport) -> bool:
    """Keep what the report tells of the order; return whether its state is another now."""
    before = state.orders[own_id]
    # A conditional order's fills come under the id of the order that it became.
    venue_id = report.triggered_venue_id if report.is_conditional else report.venue_id
    if venue_id is None:
        venue_id = before.venue_id
    state = turn.change_order(
        state,
        own_id,
        venue_id=venue_id,
        is_doubted=False,
        filled_qty=max(before.filled_qty, report.filled_qty),
    )
    if venue_id in state.unclaimed:
        claim(turn, report.symbol, own_id)
        state = turn.of(report.symbol)
    state = turn.move_order(state, own_id, state_of(report.status))
    return state.orders[own_id].state is not before.state


def _follow(turn: Turn, own_id: str, report: OrderReport, *, is_news: bool) -> None:
    symbol = report.symbol
    if turn.of(symbol).orders[own_id].leg in BRACKETS:
        on_bracket_report(turn, symbol, own_id, report, has_moved=is_news)
    _progress(turn, symbol, own_id, is_news=is_news)


def _progress(turn: Turn, symbol: str, own_id: str, *, is_news: bool) -> None:
    """Do what an order's state and executions together ask for."""
    own = turn.of(symbol).orders[own_id]
    if own.leg is Leg.ENTRY:
        if own.is_complete and is_news:
            _note_unfilled(turn, symbol, own)
            sweep_suspected_stops(turn, turn.of(symbol), own.key)
        on_entry_progress(turn, symbol, own_id)
    elif own.leg in CLOSING:
        on_close_progress(turn, symbol, own_id, has_moved=is_news)
    elif own.is_complete:
        settle_part(turn, symbol, own_id)
        if is_news:
            on_bracket_ended(turn, symbol, own_id)
    _watch_fills(turn, symbol, own_id)


def _note_unfilled(turn: Turn, symbol: str, own: OwnOrder) -> None:
    if not own.seen_qty and own.state is not OrderState.ABSENT:
        turn.note(NoteKind.REFUSED, turn.of(symbol), f"the entry ended as {own.state}, unfilled")


def _watch_fills(turn: Turn, symbol: str, own_id: str) -> None:
    """Let a deadline run for executions that must still come."""
    state = turn.of(symbol)
    own = state.orders.get(own_id)
    if own is None:
        return
    if _is_waiting_for_stop(state, own):
        turn.watch_order(state, own_id, PART_DEADLINE_S)
    elif is_suspect(state, own):
        turn.watch_order(state, own_id, UNANSWERED_S)
    elif own.has_unseen_fills:
        turn.watch_order(state, own_id, FILL_DEADLINE_S * 2 ** min(own.asked, LONGEST_WAIT))


def _is_waiting_for_stop(state: SymbolBook, own: OwnOrder) -> bool:
    trade = state.trade
    return (
        own.leg is Leg.ENTRY
        and trade is not None
        and trade.key == own.key
        and trade.stop_id is None
        and not trade.is_closing
    )


def on_overdue(turn: Turn, event: StopOverdue) -> None:
    """Act on a deadline: of a stop's confirmation, or of an order's executions."""
    state = turn.book.symbols.get(event.symbol)
    if state is None:
        return
    if state.trade is not None and state.trade.stop_watch == event.client_id:
        on_stop_overdue(turn, state)
    elif event.client_id in state.orders:
        _on_order_overdue(turn, state, event.client_id)


def _on_order_overdue(turn: Turn, state: SymbolBook, own_id: str) -> None:
    state = turn.change_order(state, own_id, is_watched=False)
    own = state.orders[own_id]
    if own.leg is Leg.ENTRY:
        on_entry_progress(turn, own.order.symbol, own_id, is_due=True)
        protect_suspect(turn, turn.of(own.order.symbol), own_id)
    elif own.leg is Leg.STOP:
        on_stop_order_overdue(turn, state, own_id)
    elif own.leg in CLOSING:
        on_close_overdue(turn, state, own)
    state = turn.of(own.order.symbol)
    own = state.orders[own_id]
    if own.has_unseen_fills:
        look_up(turn, turn.change_order(state, own_id, asked=own.asked + 1), own_id)


def look_up(turn: Turn, state: SymbolBook, own_id: str) -> None:
    """Ask the venue what became of an order of ours."""
    own = state.orders[own_id]
    if own.leg in BRACKETS:
        look_up_bracket(turn, state, own_id)
        return
    # An entry that has filled stands without a stop until its executions are known.
    is_protective = own.leg in CLOSING or bool(own.filled_qty)
    turn.give(
        LookUp(
            symbol=own.order.symbol,
            client_id=own_id,
            is_conditional=False,
            is_protective=is_protective,
        )
    )
