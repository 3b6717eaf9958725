"""Start = recovery: the book that the last run on this account left, rebuilt from the journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from milo.cli.context import Store
from milo.commands import Trade
from milo.errors import StoreError
from milo.orders.book import Book
from milo.orders.codec import CHECKPOINT, COMMAND, decoded
from milo.orders.recover import book_to_resume
from milo.orders.replay import Replayed, replay
from milo.store import journal
from milo.store.journal import JournalRun

ROW_KIND = f"{COMMAND}.RecordTrade"


async def last_run(store: Store, account: str) -> str | None:
    """Return the newest run of the account that has a record; None where there is none."""
    return await store.read_journal(lambda conn: _last_run(conn, account))


async def replayed(store: Store, run_id: str) -> Replayed:
    """Feed a recorded run through the core; StoreError where its record cannot be read."""
    return await store.read_journal(lambda conn: replay(journal.iterate_plain(conn, run_id)))


async def newest_state(store: Store, run_id: str) -> Replayed:
    """Return where a run stood at its end, from its newest checkpoint on; StoreError as above."""
    return await store.read_journal(
        lambda conn: replay(journal.iterate_tail(conn, run_id, kind=CHECKPOINT))
    )


async def resume(
    store: Store, *, account: str, run_id: str, symbols: Collection[str]
) -> tuple[Book | None, str]:
    """Return the book to go on from, None for an empty one, and a line about it; "" for none.

    A record that cannot be read does not keep the engine from trading: what stands at the venue is
    then adopted by its orders, and the line says so.
    """
    before = await last_run(store, account)
    if before is None:
        return None, ""
    try:
        found = await newest_state(store, before)
    except StoreError as error:
        return None, f"run {before} cannot be taken up ({error}); reading the account instead"
    book = book_to_resume(found.book, run_id=run_id, symbols=symbols)
    line = f"taking up run {before}"
    open_trades = list(book.open_trades())
    if open_trades:
        line += ", open: " + ", ".join(
            f"{symbol} {trade.direction}" for symbol, trade in open_trades
        )
    if found.differing:
        line += f"; {found.differing} decisions would be others today (made by another Milo?)"
    return book, line


async def closed_rows(store: Store, account: str) -> list[Trade]:
    """Return every closed row of the account, of all runs, in order."""
    return await store.read_journal(lambda conn: _closed_rows(conn, account))


def _last_run(conn: sqlite3.Connection, account: str) -> str | None:
    for run in reversed(_runs_of(conn, account)):
        if journal.last_seq(conn, run.run_id) is not None:
            return run.run_id
    return None


def _closed_rows(conn: sqlite3.Connection, account: str) -> list[Trade]:
    return [
        decoded(entry.kind, entry.body).trade
        for run in _runs_of(conn, account)
        for entry in journal.iterate_kinds(conn, run.run_id, [ROW_KIND])
    ]


def _runs_of(conn: sqlite3.Connection, account: str) -> Sequence[JournalRun]:
    return [run for run in journal.list_runs(conn) if _account_of(run) == account]


def _account_of(run: JournalRun) -> str | None:
    try:
        header = json.loads(run.header_json)
    except ValueError:
        return None
    found = header.get("account") if isinstance(header, dict) else None
    return found if isinstance(found, str) else None
