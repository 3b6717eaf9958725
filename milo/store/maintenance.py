"""Daily upkeep of market.db: functions of a connection in autocommit mode (layer 2).

VACUUM rewrites the whole file and cannot run inside a transaction, so DBManager.maintain_daily
runs this outside of one, in the market writer's thread, when the shell asks at a quiet time.
"""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from milo.errors import StoreError
from milo.intervals import DAY_MS
from milo.store.faults import store_error

_TASK = "vacuum"

# VACUUM writes a copy, and in WAL mode the copy passes through the log once more.
_ROOM_FACTOR = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """What one round of upkeep did."""

    is_vacuumed: bool
    """False where the disk has no room for the copy that VACUUM needs."""
    bytes_before: int
    bytes_after: int


def maintain_if_due(
    conn: sqlite3.Connection, now_ms: int, *, period_ms: int = DAY_MS
) -> Maintenance | None:
    """Check, analyse and compact the database where the last round is `period_ms` ago.

    Returns None where it is not due yet. `now_ms` is wall time. Takes seconds on a large file and
    keeps writers waiting. Raises StoreError where the check finds damage (nothing is changed
    then), sqlite3.OperationalError where it is interrupted.
    """
    if conn.in_transaction:
        raise StoreError("maintenance cannot run inside a transaction")
    if not is_due(conn, now_ms, period_ms=period_ms):
        return None
    damage = find_damage(conn)
    if damage:
        raise StoreError(
            f"the database is damaged: {_file_name(conn)} ({damage}); restore a copy, or move it "
            "away and fill a new one"
        )
    before = _used_bytes(conn)
    # Sampling is enough for the planner, and quick however many candles there are.
    conn.execute("PRAGMA analysis_limit = 1000")
    conn.execute("ANALYZE")
    has_room = _has_room(conn, before)
    if has_room:
        conn.execute("VACUUM")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.execute(
        """INSERT INTO upkeep (task, done_ms) VALUES (?, ?)
           ON CONFLICT (task) DO UPDATE SET done_ms = excluded.done_ms""",
        (_TASK, now_ms),
    )
    return Maintenance(is_vacuumed=has_room, bytes_before=before, bytes_after=_used_bytes(conn))


def is_due(conn: sqlite3.Connection, now_ms: int, *, period_ms: int = DAY_MS) -> bool:
    """Tell whether the last round is `period_ms` ago, never was, or lies in the future."""
    row = conn.execute("SELECT done_ms FROM upkeep WHERE task = ?", (_TASK,)).fetchone()
    # A clock that was set back must not keep the upkeep away for years.
    return row is None or not 0 <= now_ms - row[0] < period_ms


def find_damage(conn: sqlite3.Connection) -> str | None:
    """Check the file's structure; return the first thing that is wrong, None where it is sound."""
    finding = str(conn.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if finding == "ok" else " ".join(finding.split())


def damage_of_file(path: Path) -> str | None:
    """As `find_damage`, of a database at rest or in use, which is not changed. Raises StoreError.

    Whatever schema it has: a database of an older Milo can be sound too.
    """
    try:
        # as_uri quotes what a path may hold.
        conn = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return find_damage(conn)
        finally:
            conn.close()
    except sqlite3.Error as error:
        raise store_error(error, path) from error


def _used_bytes(conn: sqlite3.Connection) -> int:
    pages = conn.execute("PRAGMA page_count").fetchone()[0]
    return int(pages) * int(conn.execute("PRAGMA page_size").fetchone()[0])


def _has_room(conn: sqlite3.Connection, used_bytes: int) -> bool:
    folder = Path(_file_name(conn)).parent
    return shutil.disk_usage(folder).free > used_bytes * _ROOM_FACTOR


def _file_name(conn: sqlite3.Connection) -> str:
    return str(conn.execute("PRAGMA database_list").fetchone()[2])
