"""The heart: step(book, event, now_ms, config) -> (book, commands). Pure.

Live, paper, backtest and replay call this same function. It never reads a clock, never does I/O,
and answers the same bytes for the same input.
"""

from __future__ import annotations

import dataclasses

from milo.commands import Command, LookUp, NoteKind, ReadAccount
from milo.events import AccountEvent, AlgoEvent, LeverageEvent, OrderEvent
from milo.inbox import (
    Absent,
    Accepted,
    AccountRead,
    Canceled,
    CoreEvent,
    Failed,
    Failure,
    FillFound,
    Signal,
    StopOverdue,
    SymbolReady,
)
from milo.model import OrderReport
from milo.orders.adopt import on_account_read, on_symbol_ready
from milo.orders.book import Book, CoreConfig, SymbolBook
from milo.orders.fills import on_fill, on_funding
from milo.orders.ids import Leg
from milo.orders.machine import OrderState, state_of
from milo.orders.protect import (
    on_bracket_absent,
    on_bracket_failed,
    on_bracket_report,
    on_stop_overdue,
)
from milo.orders.signals import launch_queued, on_signal
from milo.orders.turn import Turn, find_order

_BRACKETS = (Leg.STOP, Leg.TARGET)
FUNDING = "FUNDING_FEE"


def step(
    book: Book, event: CoreEvent, now_ms: int, config: CoreConfig
) -> tuple[Book, tuple[Command, ...]]:
    """Return the book after the event, and what is to be done about it, in order."""
    turn = Turn(book, config, now_ms)
    match event:
        case Signal():
            if event.symbol in book.symbols:
                on_signal(turn, event)
        case OrderEvent():
            _on_order(turn, event)
        case AlgoEvent():
            _on_report(turn, event.report)
        case AccountEvent():
            _on_account(turn, event)
        case FillFound():
            if event.fill.symbol in book.symbols:
                on_fill(turn, event.fill, is_liquidation=False, is_order_done=True)
        case Accepted():
            _on_report(turn, event.report)
        case Failed():
            _on_failed(turn, event)
        case Absent():
            _on_absent(turn, event)
        case Canceled():
            _on_canceled(turn, event)
        case StopOverdue():
            on_stop_overdue(turn, event)
        case SymbolReady():
            on_symbol_ready(turn, event)
        case AccountRead():
            on_account_read(turn, event)
        case LeverageEvent():
            _on_leverage(turn, event)
    return turn.book, tuple(turn.commands)


def _on_order(turn: Turn, event: OrderEvent) -> None:
    report = event.report
    if report.symbol not in turn.book.symbols:
        return
    _move(turn, turn.of(report.symbol), report)
    if event.fill is not None:
        on_fill(
            turn,
            event.fill,
            is_liquidation=event.is_liquidation,
            is_order_done=report.status.is_final,
        )
    _follow(turn, report)


def _on_report(turn: Turn, report: OrderReport) -> None:
    if report.symbol not in turn.book.symbols:
        return
    _move(turn, turn.of(report.symbol), report)
    _follow(turn, report)


def _move(turn: Turn, state: SymbolBook, report: OrderReport) -> None:
    own_id = find_order(state, report.client_id, report.venue_id)
    if own_id is None:
        return
    # A conditional order's fills come under the id of the order that it became.
    venue_id = report.triggered_venue_id if report.is_conditional else report.venue_id
    state = turn.move_order(state, own_id, state_of(report.status), venue_id)
    if state.orders[own_id].leg is Leg.ENTRY and _is_dead_entry(state, own_id):
        turn.change(state, entering=None)


def _is_dead_entry(state: SymbolBook, own_id: str) -> bool:
    ended = (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
    return state.trade is None and state.orders[own_id].state in ended


def _follow(turn: Turn, report: OrderReport) -> None:
    state = turn.of(report.symbol)
    own_id = find_order(state, report.client_id, report.venue_id)
    if own_id is not None and state.orders[own_id].leg in _BRACKETS:
        on_bracket_report(turn, state, own_id, report)


def _on_account(turn: Turn, event: AccountEvent) -> None:
    account = turn.book.account
    if account is None:
        return
    locked = dict(account.locked)
    for change in event.positions:
        locked[change.symbol] = change.isolated_wallet
        state = turn.book.symbols.get(change.symbol)
        if state is not None:
            turn.change(state, venue_qty=change.qty)
    wallet = account.wallet if event.wallet is None else event.wallet
    locked = {symbol: amount for symbol, amount in locked.items() if amount}
    turn.book = dataclasses.replace(
        turn.book, account=dataclasses.replace(account, wallet=wallet, locked=locked)
    )
    if event.reason == FUNDING:
        symbols = [change.symbol for change in event.positions]
        symbol = event.funding_symbol or (symbols[0] if len(symbols) == 1 else None)
        if symbol is not None:
            on_funding(turn, symbol, event.change)
    for change in event.positions:
        if change.symbol in turn.book.symbols:
            launch_queued(turn, change.symbol)


def _on_leverage(turn: Turn, event: LeverageEvent) -> None:
    state = turn.book.symbols.get(event.symbol)
    if state is not None:
        turn.change(state, leverage=event.leverage)


def _on_failed(turn: Turn, event: Failed) -> None:
    state = turn.book.symbols.get(event.symbol)
    own = None if state is None else state.orders.get(event.client_id)
    if state is None or own is None or own.state not in (OrderState.PLACING, OrderState.UNKNOWN):
        # The streams have told more than the failed request knows.
        return
    is_unknown = event.failure is Failure.UNKNOWN
    to = OrderState.UNKNOWN if is_unknown else OrderState.REJECTED
    state = turn.move_order(state, event.client_id, to)
    if own.leg in _BRACKETS:
        on_bracket_failed(turn, state, own.leg, event)
    elif is_unknown:
        turn.give(
            LookUp(
                symbol=event.symbol,
                client_id=event.client_id,
                is_conditional=False,
                is_protective=own.leg is not Leg.ENTRY,
            )
        )
    elif own.leg is Leg.ENTRY:
        turn.note(NoteKind.REFUSED, state, f"entry refused by the exchange: {event.text}")
        turn.change(state, entering=None)
    else:
        _on_close_failed(turn, state, event.text)


def _on_close_failed(turn: Turn, state: SymbolBook, text: str) -> None:
    if state.trade is None:
        return
    turn.note(NoteKind.PROBLEM, state, f"closing order refused: {text}")
    state = turn.change_trade(state, is_closing=False)
    turn.change(state, queued=None)
    turn.give(ReadAccount(why="a closing order was refused"))


def _on_absent(turn: Turn, event: Absent) -> None:
    state = turn.book.symbols.get(event.symbol)
    if state is None or event.client_id not in state.orders:
        return
    own = state.orders[event.client_id]
    if own.state not in (OrderState.PLACING, OrderState.UNKNOWN):
        return
    state = turn.move_order(state, event.client_id, OrderState.ABSENT)
    if own.leg in _BRACKETS:
        on_bracket_absent(turn, state, event.client_id)
    elif own.leg is Leg.ENTRY:
        turn.note(NoteKind.REFUSED, state, "the entry never reached the exchange")
        turn.change(state, entering=None)
    else:
        _on_close_failed(turn, state, "it never reached the exchange")


def _on_canceled(turn: Turn, event: Canceled) -> None:
    state = turn.book.symbols.get(event.symbol)
    if state is not None and event.client_id in state.orders:
        turn.move_order(state, event.client_id, OrderState.CANCELED)
