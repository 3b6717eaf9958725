"""The operator's own limits: the day's loss, open positions, and the kill switch. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal

from milo.commands import NoteKind
from milo.events import AccountEvent
from milo.intervals import DAY_MS
from milo.model import ExitReason
from milo.money import ZERO
from milo.orders.book import Book
from milo.orders.turn import Turn

_OWN_REASONS = frozenset({"ORDER", "FUNDING_FEE"})


def note_day(turn: Turn) -> None:
    """Remember the wallet as a UTC day begins, or as it is first known on that day."""
    account, day = turn.book.account, turn.now_ms // DAY_MS
    if (
        account is None
        or turn.book.is_account_stale
        or (turn.book.day == day and turn.book.day_wallet is not None)
    ):
        return
    turn.book = dataclasses.replace(turn.book, day=day, day_wallet=account.wallet)


def note_transfer(turn: Turn, event: AccountEvent) -> None:
    """Let money that was moved in or out count neither as profit nor as loss."""
    if event.reason not in _OWN_REASONS and event.change and turn.book.day_wallet is not None:
        wallet = turn.book.day_wallet + event.change
        turn.book = dataclasses.replace(turn.book, day_wallet=wallet)


def lost_today(book: Book, marks: Mapping[str, Decimal]) -> Decimal:
    """Return the share of the day's first wallet that is lost now, open positions included.

    0 where nothing is lost, or where it is not known.
    """
    if book.account is None or not book.day_wallet:
        return ZERO
    equity = book.account.wallet + book.unrealized(marks)
    return max(ZERO, 1 - equity / book.day_wallet)


def positions_in_use(book: Book, but: str) -> int:
    """Return how many symbols besides `but` have a position of ours, or an entry under way."""
    return sum(
        symbol != but and (state.trade is not None or state.is_entering)
        for symbol, state in book.symbols.items()
    )


def on_kill_switch(turn: Turn, reason: str) -> None:
    """Open nothing any more in this run, and close every position of ours at market."""
    if turn.book.halted is None:
        turn.book = dataclasses.replace(turn.book, halted=reason)
    for symbol in turn.book.symbols:
        state = turn.of(symbol)
        if state.queued is not None:
            turn.note(NoteKind.REFUSED, state, f"{state.queued.action} not sent: {reason}")
            state = turn.change(state, queued=None)
        if state.trade is not None and not state.trade.is_closing:
            turn.note(NoteKind.PROBLEM, state, f"kill switch ({reason}): closing at market")
            turn.close_at_market(state, ExitReason.CLOSE)


def close_what_opens(turn: Turn, symbol: str) -> None:
    """Close what an entry opened that was under way when the kill switch was thrown."""
    state = turn.of(symbol)
    trade = state.trade
    if turn.book.halted is not None and trade is not None and trade.closes == 0:
        turn.close_at_market(state, ExitReason.CLOSE)
