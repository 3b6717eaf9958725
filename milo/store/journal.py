"""The journal: what happened in each run, append-only, in journal.db (layer 2).

Triggers in the database refuse to change or delete what was written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from milo.errors import StoreError


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event, verdict or command; `seq` counts them within a run without a hole."""

    seq: int
    time_ms: int
    """Candle time: the venue's clock."""
    kind: str
    body: str
    """JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRun:
    """One run of the engine on one venue."""

    run_id: str
    venue: str
    header_json: str
    started_ms: int
    ended_ms: int | None
    """None while it runs, and for ever if it was killed."""


def start_run(
    conn: sqlite3.Connection, *, run_id: str, venue: str, header_json: str, started_ms: int
) -> None:
    """Open a run. Raises StoreError where the journal has a run of that id already."""
    if read_header(conn, run_id) is not None:
        raise StoreError(f"the journal has a run {run_id} already")
    conn.execute(
        "INSERT INTO runs (run_id, venue, header, started_ms) VALUES (?, ?, ?, ?)",
        (run_id, venue, header_json, started_ms),
    )


def end_run(conn: sqlite3.Connection, run_id: str, *, ended_ms: int) -> None:
    """Note a run's orderly end, once. Raises StoreError where there is no such open run."""
    changed = conn.execute(
        "UPDATE runs SET ended_ms = ? WHERE run_id = ? AND ended_ms IS NULL", (ended_ms, run_id)
    ).rowcount
    if not changed:
        raise StoreError(f"the journal has no open run {run_id}")


def append(conn: sqlite3.Connection, run_id: str, entries: Sequence[JournalEntry]) -> None:
    """Append entries to a run; committed when DBManager.journal returns.

    Raises StoreError where there is no such run, and unless each seq is one above the last (a
    run's first entry may have any).
    """
    expected = last_seq(conn, run_id)
    if expected is None and read_header(conn, run_id) is None:
        raise StoreError(f"the journal has no run {run_id}")
    for entry in entries:
        if expected is not None and entry.seq != expected + 1:
            raise StoreError(
                f"journal of run {run_id}: entry {entry.seq} does not follow entry {expected}"
            )
        expected = entry.seq
    conn.executemany(
        "INSERT INTO entries (run_id, seq, time_ms, kind, body) VALUES (?, ?, ?, ?, ?)",
        [(run_id, entry.seq, entry.time_ms, entry.kind, entry.body) for entry in entries],
    )


def last_seq(conn: sqlite3.Connection, run_id: str) -> int | None:
    """Return the seq of a run's newest entry; None where it has none."""
    row = conn.execute("SELECT max(seq) FROM entries WHERE run_id = ?", (run_id,)).fetchone()
    return None if row[0] is None else int(row[0])


def read_run(
    conn: sqlite3.Connection, run_id: str, *, after_seq: int | None = None
) -> list[JournalEntry]:
    """Return a run's entries in order, those above `after_seq` where given."""
    return list(iterate_run(conn, run_id, after_seq=after_seq))


def iterate_run(
    conn: sqlite3.Connection,
    run_id: str,
    *,
    after_seq: int | None = None,
) -> Iterator[JournalEntry]:
    """Yield a run's entries in order, for runs too long to hold at once."""
    rows = conn.execute(
        """SELECT seq, time_ms, kind, body FROM entries
           WHERE run_id = ? AND seq > ? ORDER BY seq""",
        (run_id, -(2**63) if after_seq is None else after_seq),
    )
    return (JournalEntry(*row) for row in rows)


def iterate_plain(conn: sqlite3.Connection, run_id: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield (seq, time_ms, kind, body) of a run in order, as a replay takes them."""
    for entry in iterate_run(conn, run_id):
        yield entry.seq, entry.time_ms, entry.kind, entry.body


def iterate_tail(
    conn: sqlite3.Connection, run_id: str, *, kind: str
) -> Iterator[tuple[int, int, str, str]]:
    """Yield a run's first entry, its newest of `kind`, and what follows that; else all of it."""
    (newest,) = conn.execute(
        "SELECT max(seq) FROM entries WHERE run_id = ? AND kind = ?", (run_id, kind)
    ).fetchone()
    entries = iterate_plain(conn, run_id)
    first = next(entries, None)
    if first is None:
        return
    yield first
    if newest is not None:
        rest = iterate_run(conn, run_id, after_seq=newest - 1)
        entries = ((entry.seq, entry.time_ms, entry.kind, entry.body) for entry in rest)
    yield from entries


def iterate_kinds(
    conn: sqlite3.Connection, run_id: str, kinds: Sequence[str]
) -> Iterator[JournalEntry]:
    """Yield a run's entries of these kinds in order."""
    marks = ", ".join("?" * len(kinds))
    # Only question marks are put into the text; the kinds are bound.
    rows = conn.execute(
        f"""SELECT seq, time_ms, kind, body FROM entries
            WHERE run_id = ? AND kind IN ({marks}) ORDER BY seq""",  # noqa: S608
        (run_id, *kinds),
    )
    return (JournalEntry(*row) for row in rows)


def read_header(conn: sqlite3.Connection, run_id: str) -> JournalRun | None:
    """Return what was said of a run at its start; None where there is no such run."""
    found = _runs(conn, "WHERE run_id = ?", (run_id,))
    return found[0] if found else None


def list_runs(conn: sqlite3.Connection) -> list[JournalRun]:
    """Return all runs in the order in which they were started."""
    return _runs(conn, "", ())


def _runs(conn: sqlite3.Connection, where: str, bound: tuple[str, ...]) -> list[JournalRun]:
    # `where` is our own text; its values are bound. rowid is the order of insertion.
    rows = conn.execute(
        f"SELECT run_id, venue, header, started_ms, ended_ms FROM runs {where} ORDER BY rowid",  # noqa: S608
        bound,
    )
    return [
        JournalRun(
            run_id=row[0], venue=row[1], header_json=row[2], started_ms=row[3], ended_ms=row[4]
        )
        for row in rows
    ]
