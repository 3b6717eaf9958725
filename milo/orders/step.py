"""The heart: step(book, event, now_ms, config) -> (book, commands). Pure.

Live, paper, backtest and replay call this same function. It never reads a clock, never does I/O,
and answers the same bytes for the same input.
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from milo.commands import Command, NoteKind
from milo.events import AccountEvent, AlgoEvent, LeverageEvent, OrderEvent, StreamReset
from milo.inbox import (
    Absent,
    Accepted,
    AccountRead,
    Canceled,
    CoreEvent,
    Failed,
    Failure,
    FillFound,
    FundingFound,
    KillSwitch,
    ReconcileDue,
    Resumed,
    Signal,
    StopOverdue,
    SymbolReady,
)
from milo.orders.book import Account, Book, CoreConfig, SymbolBook
from milo.orders.closing import on_close_failed, on_close_unknown
from milo.orders.fills import on_funding
from milo.orders.ids import Leg
from milo.orders.limits import close_what_opens, note_day, note_transfer, on_kill_switch
from milo.orders.machine import OrderState
from milo.orders.protect import on_bracket_absent, on_bracket_failed, sweep_suspected_stops
from milo.orders.reconcile import (
    distrust_future,
    on_account_read,
    on_stream_reset,
    on_symbol_ready,
)
from milo.orders.recover import on_resumed
from milo.orders.reports import (
    BRACKETS,
    look_up,
    on_accepted,
    on_fill_found,
    on_order_event,
    on_overdue,
    on_report,
    release_waiting,
)
from milo.orders.signals import launch_queued, on_signal
from milo.orders.suspect import protect_suspect, stop_to_take_over
from milo.orders.turn import Turn

FUNDING = "FUNDING_FEE"
_UNDECIDED = frozenset({OrderState.PLACING, OrderState.UNKNOWN})


def step(
    book: Book, event: CoreEvent, now_ms: int, config: CoreConfig
) -> tuple[Book, tuple[Command, ...]]:
    """Return the book after the event, and what is to be done about it, in order."""
    turn = Turn(book, config, now_ms)
    note_day(turn)
    distrust_future(turn)
    _handle(turn, event)
    for symbol in turn.book.symbols:
        if turn.of(symbol).waiting:
            release_waiting(turn, symbol)
        if turn.of(symbol).queued is not None:
            launch_queued(turn, symbol)
        if turn.book.halted is not None:
            close_what_opens(turn, symbol)
    return turn.book, tuple(turn.commands)


def _handle(turn: Turn, event: CoreEvent) -> None:
    match event:
        case Signal():
            if event.symbol in turn.book.symbols:
                on_signal(turn, event)
        case OrderEvent():
            on_order_event(turn, event)
        case AlgoEvent():
            on_report(turn, event.report)
        case AccountEvent():
            _on_account(turn, event)
        case FillFound():
            on_fill_found(turn, event)
        case Accepted():
            on_accepted(turn, event.report)
        case Failed():
            _on_failed(turn, event)
        case Absent():
            _on_absent(turn, event)
        case Canceled():
            _on_canceled(turn, event)
        case FundingFound():
            on_funding(turn, event.symbol, event.amount, event.time_ms, is_statement=True)
        case StopOverdue():
            on_overdue(turn, event)
        case Resumed():
            on_resumed(turn)
        case ReconcileDue():
            turn.read_account("at intervals")
        case KillSwitch():
            on_kill_switch(turn, event.reason)
        case SymbolReady():
            on_symbol_ready(turn, event)
        case AccountRead():
            on_account_read(turn, event)
        case LeverageEvent():
            _on_leverage(turn, event)
        case StreamReset():
            on_stream_reset(turn, event)
        case _:
            assert_never(event)


def _on_account(turn: Turn, event: AccountEvent) -> None:
    account = turn.book.account
    if account is None:
        return
    if _is_news(account, event):
        locked = dict(account.locked)
        for change in event.positions:
            locked[change.symbol] = change.isolated_wallet
            state = turn.book.symbols.get(change.symbol)
            if state is not None:
                turn.change(state, venue_qty=change.qty)
        account = dataclasses.replace(
            account,
            wallet=account.wallet if event.wallet is None else event.wallet,
            locked={symbol: amount for symbol, amount in locked.items() if amount},
            last_event=event,
        )
        turn.book = dataclasses.replace(
            turn.book, account=account, events_in_reading=turn.book.events_in_reading + 1
        )
        note_transfer(turn, event)
    if event.reason == FUNDING:
        symbols = [change.symbol for change in event.positions]
        symbol = event.funding_symbol or (symbols[0] if len(symbols) == 1 else None)
        if symbol is not None:
            on_funding(turn, symbol, event.change, event.event_ms, is_statement=False)


def _is_news(account: Account, event: AccountEvent) -> bool:
    # Streams of one kind are in order; where a venue does not hold to that, the newest counts.
    last = account.last_event
    return last is None or (event != last and event.event_ms >= last.event_ms)


def _on_leverage(turn: Turn, event: LeverageEvent) -> None:
    state = turn.book.symbols.get(event.symbol)
    if state is not None:
        turn.change(state, leverage=event.leverage)


def _on_failed(turn: Turn, event: Failed) -> None:
    state = turn.book.symbols.get(event.symbol)
    own = None if state is None else state.orders.get(event.client_id)
    if state is None or own is None or own.state not in _UNDECIDED:
        # The streams have told more than the failed request knows.
        return
    is_unknown = event.failure is Failure.UNKNOWN
    to = OrderState.UNKNOWN if is_unknown else OrderState.REJECTED
    state = turn.move_order(state, event.client_id, to)
    if own.leg in BRACKETS:
        on_bracket_failed(turn, state, event.client_id, event)
    elif is_unknown:
        look_up(turn, state, event.client_id)
        protect_suspect(turn, turn.of(event.symbol), event.client_id)
        on_close_unknown(turn, turn.of(event.symbol), event.client_id)
    elif own.leg is Leg.ENTRY:
        turn.note(NoteKind.REFUSED, state, f"entry refused by the exchange: {event.text}")
        sweep_suspected_stops(turn, state, own.key)
    else:
        text = f"closing order refused: {event.text}"
        on_close_failed(turn, state, event.client_id, text)


def _on_absent(turn: Turn, event: Absent) -> None:
    state = turn.book.symbols.get(event.symbol)
    own = None if state is None else state.orders.get(event.client_id)
    if state is None or own is None:
        return
    if own.state is OrderState.ABSENT:
        if not own.is_given_up:
            state = turn.change_order(state, event.client_id, is_given_up=True)
            sweep_suspected_stops(turn, state, own.key)
            turn.read_account("an order that never arrived was given up")
        return
    if own.state not in _UNDECIDED and not own.is_doubted:
        # It was told of after the question went out.
        return
    state = turn.move_order(state, event.client_id, OrderState.ABSENT)
    if own.leg in BRACKETS:
        on_bracket_absent(turn, state, event.client_id)
    elif own.leg is Leg.ENTRY:
        turn.note(NoteKind.REFUSED, state, "the entry never reached the exchange")
        if stop_to_take_over(state, own.key) is not None:
            # Yet a stop was sent for it, and stands or may stand.
            turn.read_account("an entry seems absent, its stop does not")
    else:
        text = "the closing order never reached the exchange"
        on_close_failed(turn, state, event.client_id, text)


def _on_canceled(turn: Turn, event: Canceled) -> None:
    state: SymbolBook | None = turn.book.symbols.get(event.symbol)
    if state is not None and event.client_id in state.orders:
        turn.move_order(state, event.client_id, OrderState.CANCELED)
